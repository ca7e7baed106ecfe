"""After a warm-up nothing that is drawn has to wait for a compiler."""

import pytest
import torch

import physsim as ps
from physsim import warmup
from physsim.appearance import warmup as looks
from physsim.physics import launch


@pytest.fixture
def loaded(monkeypatch):
    """Kernels that have been loaded, from now on."""
    seen = set()
    monkeypatch.setattr(launch, "_seen", seen)
    return seen


def test_pictures_films_and_fits_load_no_kernel_that_a_warmup_has_not(loaded):
    looks.draw("cpu")
    warm = set(loaded)
    assert warm
    mesh = ps.sheet_mesh((0.2, 0.1), (3, 2))
    splats = ps.splats_from_mesh(mesh, 50, degree=2)
    x = torch.tensor(1.2 * mesh.points, dtype=torch.float32, requires_grad=True)
    camera = ps.Camera.around(mesh.points, direction=(0.1, 0.2, 1.0), width=40, height=24)
    floor = ps.Surface(mesh.points - [0.0, 0.0, 0.1], mesh.triangles)
    scene = ps.Scene(ps.PosedSplats(splats, ps.bind(splats, mesh).pose(x)), floor)
    ps.render(scene, camera).colour.square().sum().backward()
    assert x.grad.abs().sum() > 0.0
    picture = ps.render(splats, camera)
    ps.fit_appearance(splats, [ps.Frame(picture.colour, camera)], mesh, options=ps.FitOptions(iterations=2, held_out=0))
    assert loaded == warm


def test_the_command_tells_each_part_and_the_whole(monkeypatch, capsys):
    done = []
    monkeypatch.setattr(warmup, "solve", lambda *given: done.append(given))
    monkeypatch.setattr(looks, "draw", lambda *given: done.append(given))
    assert warmup.main(dtype="float32") == 0
    assert done == [(kind, "cpu", "float32") for kind in ("net", "sheet", "rod", 1, 2)] + [("cpu",)]
    out = capsys.readouterr().out
    assert all(f"  {what} " in out for what in ("spring nets", "four-node solids", "pictures"))
    assert "done in" in out


def test_an_unknown_device_is_refused_before_anything_is_compiled(loaded):
    with pytest.raises(ps.InputError):
        warmup.main(device="tpu")
    assert not loaded
