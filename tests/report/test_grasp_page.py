"""A grasp's pictures show gripper and object, and its folder holds the page, the film and the numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.report.grasp_film import close_frames, coarse_link, phase_stills, solids, viewing_direction
from physsim.report.grasp_page import write_page, write_report
from physsim.report.grasp_record import ForceMap, GraspRecord, LinkMesh
from physsim.report.render import box_surface

NUMBERS = {
    "success": True,
    "lift_m": 0.1,
    "slip_mm": 0.02,
    "finger_force_n": [2.0, 2.05],
    "hold": "friction",
    "penetration_mm": float("nan"),
}


def link(name, lower, upper):
    return LinkMesh(name, *box_surface(lower, upper, divisions=3))


@pytest.fixture
def record():
    """A foot at the origin, a hand and two fingers that close along y around a cube half a metre away, and rise."""
    links = (
        link("foot", (-0.1, -0.1, 0.0), (0.1, 0.1, 0.3)),
        link("hand", (-0.03, -0.08, 0.05), (0.03, 0.08, 0.1)),
        link("left", (-0.01, 0.025, -0.02), (0.01, 0.04, 0.05)),
        link("right", (-0.01, -0.04, -0.02), (0.01, -0.025, 0.05)),
    )
    frames, times = np.linspace(0.0, 2.0, 5), np.linspace(0.0, 2.0, 101)
    rise = 0.05 * frames
    at = np.zeros((5, 4, 3))
    at[:, 1:] = [0.5, 0.0, 0.025]
    at[:, 1:, 2] += rise[:, None]
    turns = np.zeros((5, 4, 4))
    turns[..., 0] = 1.0
    cube, triangles = box_surface((0.475, -0.025, 0.0), (0.525, 0.025, 0.05), divisions=3)
    points = np.repeat(cube[None], 5, axis=0) + rise[:, None, None] * [0.0, 0.0, 1.0]
    force = np.minimum(2.0 * times, 2.0)
    return GraspRecord(
        robot="panda",
        object_name="cube",
        hold="friction",
        times=times,
        heights=0.05 * times,
        finger_forces=np.stack([force, force], axis=1),
        carried=0.3 * force,
        slip=np.where(times > 1, 1e-5 * times, np.nan),
        stress=1000 * force,
        weight=0.6,
        phases=(("close", 0.0, 1.0), ("lift", 1.0, 2.0)),
        links=links,
        frame_times=frames,
        link_positions=at,
        link_quaternions=turns,
        object_points=points,
        object_triangles=triangles,
        object_stress=np.abs(points).sum(axis=2),
        contact_points=tuple(np.array([[0.5, 0.025, 0.025 + r]]) for r in rise),
        gripper=("hand", "left", "right"),
    )


def test_the_folder_holds_page_film_and_numbers(record, tmp_path):
    data, film, page = write_report(tmp_path / "out", record, NUMBERS, [("step", "1/240 s")])
    found = json.loads(data.read_text(encoding="utf-8"))
    assert found["success"] is True
    assert found["finger_force_n"] == [2.0, 2.05]
    assert found["penetration_mm"] is None
    assert film.stat().st_size > 1000
    html = page.read_text(encoding="utf-8")
    for said in (
        "held",
        "by friction alone",
        "0.1000 m",
        "Slip along the fingers",
        "Height of the object",
        "1/240 s",
        "Force of the fingers",
    ):
        assert said in html
    write_page(tmp_path / "pin.html", replace(record, hold="pin"), {**NUMBERS, "hold": "pin"}, film)
    pinned = (tmp_path / "pin.html").read_text(encoding="utf-8")
    assert "pinned to the fingers" in pinned
    assert "by friction alone" not in pinned


def test_what_was_felt_is_on_the_page_only_where_it_is_known(record, tmp_path, rng):
    write_report(tmp_path, record, NUMBERS)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Load on the wrist" not in text
    assert "finger 1, mean" not in text
    count, edges = len(record.times), (np.linspace(-0.01, 0.01, 5), np.linspace(0.0, 0.02, 4))
    maps = tuple(ForceMap(name, *rng.random((2, 4, 3)), edges, ("x", "z")) for name in ("left", "right"))
    loads = {name: rng.normal(size=(5, 3)) for name in ("wrist_force", "wrist_torque")}
    felt = {"strain": rng.random(count), "energy": rng.random(count), "wrist_times": record.frame_times, "force_maps": maps, **loads}
    write_report(tmp_path, replace(record, **felt), NUMBERS | {"series": {"time_s": [0.0]}})
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    for words in ("Largest strain", "Energy stored", "Load on the wrist", "finger 1, mean", "finger 2, peak", "z [mm]"):
        assert words in text
    assert "time_s" not in text
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["series"] == {"time_s": [0.0]}


def test_links_stand_where_their_poses_put_them(record):
    turned = record.link_quaternions.copy()
    turned[2, 2] = [np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)]  # a quarter turn about z
    drawn = solids(replace(record, link_quaternions=turned), 2)
    x, y, z = record.links[2].points.T
    np.testing.assert_allclose(drawn[2].points, np.stack([-y, x, z], axis=1) + record.link_positions[2, 2], atol=1e-12)
    np.testing.assert_allclose(drawn[3].points, record.links[3].points + record.link_positions[2, 3])
    np.testing.assert_array_equal(drawn[-1].points, record.object_points[2])


def test_the_camera_looks_across_the_fingers_from_the_side_away_from_the_foot(record):
    direction = viewing_direction(record)
    assert direction[0] > 0.8
    assert abs(direction[1]) < 0.5
    assert direction[2] > 0


def test_close_pictures_show_object_and_fingers_in_every_frame(record):
    cube = replace(record, object_stress=None, contact_points=())
    fingers = replace(
        cube, links=tuple(replace(part, colour="#ff0000" if part.name in ("left", "right") else "#ffffff") for part in cube.links)
    )
    pictures = [np.asarray(picture, dtype=int) for picture in close_frames(fingers)]
    assert len(pictures) == 5
    for picture in pictures:
        red = (picture[..., 0] > 130) & (picture[..., 1] < 60)
        brown = (picture[..., 0] > 120) & (picture[..., 2] < 110) & (picture[..., 1] > 70)
        assert red.sum() > 1000
        assert brown.sum() > 2000
    assert not np.array_equal(pictures[0], pictures[-1])


def test_there_is_a_still_for_every_phase(record):
    sheet = phase_stills(record)
    assert sheet.size == (960, 360)
    left, right = (np.asarray(sheet.crop((480 * i, 60, 480 * i + 480, 360)), dtype=int) for i in (0, 1))
    assert np.abs(left - right).max() > 50


def test_merging_points_keeps_the_shape_with_fewer_triangles(rng):
    points, triangles = box_surface((0, 0, 0), (0.1, 0.2, 0.3), divisions=40)
    merged = coarse_link("box", points, triangles, cells=12)
    assert len(merged.triangles) < 0.2 * len(triangles)
    np.testing.assert_allclose(np.ptp(merged.points, axis=0), [0.1, 0.2, 0.3], atol=0.03)
    a, b, c = (merged.points[merged.triangles[:, i]] for i in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(0.1 * 0.2 * 0.3, rel=0.25)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"heights": np.zeros(3)}, "heights: shape"),
        ({"finger_forces": np.zeros((101, 1))}, "finger_forces: shape"),
        ({"link_positions": np.zeros((5, 3, 3))}, "link_positions: shape"),
        ({"object_points": np.zeros((4, 9, 3))}, "object_points: shape"),
        ({"contact_points": (np.zeros((1, 3)),)}, "contact_points: 1 given"),
        ({"gripper": ("claw",)}, "claw are not among the links"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(record, change, says):
    with pytest.raises(InputError, match=says):
        replace(record, **change)


def test_the_phase_at_a_time_is_named(record):
    assert [record.phase_at(t) for t in (0.5, 1.5, 3.0)] == ["close", "lift", ""]
