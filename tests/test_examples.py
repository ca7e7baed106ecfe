"""Every example runs, stays short, and returns the number that its story ends with."""

import ast
import importlib.util
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "examples"

# name -> (number, tolerance); why it is that number and may differ by that much:
NUMBERS = {
    # the same force twice: bisection stops within 1 % of it, Newton where the cube slides at 2 mm/s
    "least_grip_force": (1.0, 0.02),
    # 26 mm become 5 to 6 mm in a dozen steps of Adam, whose way through folds and slips rounding may bend
    "fold_cloth": (0.2, 0.1),
    # this net's own equilibrium: the residual allowed (1e-5 of a particle's weight) moves the lowest point by less than 0.1 mm, and six
    # seconds of damped motion end within 0.02 mm of it
    "hanging_net": (-1.00228, 2e-4),
    # Timoshenko's drop; the clamp hinders the section's contraction, which he leaves out: under 1 % at ten times the height
    "beam_sag": (1.0, 0.01),
    # data without noise by the same simulation: nothing but the optimiser's own tolerance keeps it from 0
    "recover_stiffness_torch": (0.0, 1e-5),
    # the same for 199 springs, cut short after 80 steps of Adam: the log error falls from 27 % to under 1 %
    "recover_stiffness_field": (0.0, 0.01),
    # as a stiff plate on a hinge, 0.483 s; the sag between the corners and the mesh shift it by under 2 %
    "cloth_two_corners": (0.483, 0.01),
    # the standard's c = L/2 is 0.02 % off the heavy elastica; the mesh of 20 cells adds under half a per cent
    "sheet_over_edge": (1.0005, 0.005),
    # a polygon of 60 edges hangs 0.02 % lower than the catenary and stretches by 0.003 %
    "rope_hanging": (1.0, 1e-3),
    # half a millimetre of noise leaves 1 % open, the start's own noise and the polygon another
    "cable_two_ends": (1.0, 0.04),
    # the coarse mesh is 1.9 % too soft for the film's, which pixels add a per cent to; 5 % is what the story promises
    "learn_stiffness_from_pixels": (0.028, 0.02),
    # over 30 dB at rest; the light of the rest stays on what is squeezed and turned, which costs up to 3 dB
    "squeeze_textured_body": (29.5, 1.0),
    # a root; BDF2 slows the stiffest beam by (omega dt)^2 / 2 = 1 % and a light sag the softest
    "many_beams": (0.5, 0.01),
    # 13 mm of 347: real throws scatter by about 20 mm about any simulation, and a cube that tips or not moves a median of ten by 10 mm
    "cube_toss": (0.04, 0.04),
    # 0.744 mm of 0.780: the command tells of the twitches only, the drift of the markers is most of both errors; fitted to a thousandth
    "starfish_limb": (0.954, 0.02),
}

SLOW = {"squeeze_textured_body", "starfish_limb"}


def paths():
    return sorted(FOLDER.glob("*.py"))


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors here are small: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def runs():
    return [pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in SLOW else ()) for path in paths()]


@pytest.mark.parametrize("path", runs())
def test_example_ends_with_its_number(path, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # some write pictures
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    number, tolerance = NUMBERS[path.stem]
    assert module.main() == pytest.approx(number, abs=tolerance)
    said = capsys.readouterr().out
    assert 0 < len(said.splitlines()) <= 40


@pytest.mark.parametrize("path", paths(), ids=lambda path: path.stem)
def test_example_is_short_and_says_what_it_shows(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    tree = ast.parse(text)
    assert ast.get_docstring(tree)
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            assert ast.get_docstring(function), function.name


def test_every_example_has_a_number():
    assert {path.stem for path in paths()} == set(NUMBERS)
