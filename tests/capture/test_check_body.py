"""A few markers, a clock and a length are enough to tell units that are mistaken; what may be right is left in peace."""

import numpy as np
import pytest

from physsim.appearance.camera import Camera
from physsim.capture.capture import Capture, Handle, Known, SeenTracks
from physsim.capture.check import check_capture
from physsim.physics.mesh import box_mesh

MARKERS = np.array([[0.02, 0.015, 0.03], [0.05, 0.015, 0.03], [0.08, 0.015, 0.03], [0.12, 0.015, 0.03]])


@pytest.fixture
def problems(tmp_path):
    """Those of a bar of 12 cm, clamped at one end, with four markers, things scaled by factors."""

    def told(tracks=1.0, handle=1.0, mesh=1.0, times=1.0, log=None):
        clock = np.arange(10) / 30
        logged = np.zeros(1) if log is None else log * clock
        rest = box_mesh(size=(0.12 * mesh, 0.03 * mesh, 0.03 * mesh), cells=(2, 1, 1))
        capture = Capture(
            times * clock,
            tracks=SeenTracks(np.tile(tracks * MARKERS, (10, 1, 1))),
            handles={"clamp": Handle(logged, np.tile(handle * np.array([0.0, 0.015, 0.015]), (len(logged), 1)))},
            mesh=rest,
            kind="solid",
            known=Known(density=1000.0),
        )
        capture.save(tmp_path / "bar")
        return [(p.severity, p.file, p.message) for p in check_capture(tmp_path / "bar")]

    return told


def test_a_bar_with_four_markers_has_no_problem(problems):
    assert problems() == []
    assert problems(log=1.0) == []


@pytest.mark.parametrize(
    ("scaled", "severity", "file", "message"),
    [
        ({"tracks": 1000.0}, "error", "mesh.npz", "the rest shape measures"),
        ({"mesh": 1000.0}, "error", "mesh.npz", "the rest shape measures"),
        ({"mesh": 100.0}, "error", "mesh.npz", "the rest shape measures"),
        ({"handle": 1000.0}, "error", "handles/clamp.csv", "never near"),
        ({"tracks": 1000.0, "handle": 1000.0, "mesh": 1000.0}, "warning", "capture.json", "what is seen of the body measures"),
        ({"times": 1000.0, "log": 1000.0}, "warning", "capture.json", "the frames are 33.3 s apart"),
        ({"log": 1000.0}, "warning", "handles/clamp.csv", "its times span 300 s, the frames' 0.3 s"),
    ],
)
def test_other_units_are_told_of_four_markers(problems, scaled, severity, file, message):
    assert any(s == severity and f == file and message in m for s, f, m in problems(**scaled))


def test_markers_at_the_tip_alone_do_not_make_the_rest_too_large(tmp_path):
    markers = np.array([[0.119, 0.01, 0.03], [0.12, 0.015, 0.03], [0.12, 0.02, 0.025]])
    capture = Capture(
        np.arange(5) / 30,
        tracks=SeenTracks(np.tile(markers, (5, 1, 1))),
        handles={"clamp": Handle(np.zeros(1), np.array([[0.0, 0.015, 0.015]]))},
        mesh=box_mesh(size=(0.12, 0.03, 0.03), cells=(2, 1, 1)),
        kind="solid",
        known=Known(density=1000.0),
    )
    capture.save(tmp_path / "bar")
    assert check_capture(tmp_path / "bar") == []


def test_a_mesh_of_another_kind_than_the_capture_says_is_told(tmp_path):
    capture = Capture(
        np.arange(5) / 30,
        tracks=SeenTracks(np.tile(MARKERS, (5, 1, 1))),
        mesh=box_mesh(size=(0.12, 0.03, 0.03), cells=(2, 1, 1)),
        kind="rod",
    )
    capture.save(tmp_path / "bar")
    assert ["shape of a solid" in p.message and p.severity == "warning" for p in check_capture(tmp_path / "bar")] == [True]


def test_depth_without_any_mask_is_told_to_count_as_the_body(tmp_path):
    camera = Camera.look_at((0.06, -0.5, 0.1), (0.06, 0.0, 0.0), width=32, height=24, angle=40)
    depth = {"front": [np.full((24, 32), 0.6, np.float32)] * 3}
    Capture(np.arange(3) / 30, {"front": camera}, depth=depth, kind="solid").save(tmp_path / "wall")
    (problem,) = check_capture(tmp_path / "wall")
    assert problem.file == "depth/front" and "no masks" in problem.message and problem.severity == "warning"
