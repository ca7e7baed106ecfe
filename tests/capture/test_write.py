"""What a Capture holds survives its folder, and nothing half-written is left behind."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from physsim.appearance.camera import Camera
from physsim.capture.capture import Capture, Handle, SeenTracks
from physsim.capture.check import check_capture
from physsim.capture.write import CaptureWriter
from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh
from physsim.physics.mesh import box_mesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import sheet_mesh


def loaded(folder):
    """The capture of a folder, which must give no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Capture.load(folder)


def test_everything_that_a_capture_holds_survives_its_folder(ball, tmp_path):
    assert ball.save(tmp_path / "c") == tmp_path / "c"
    back = loaded(tmp_path / "c")
    np.testing.assert_array_equal(back.times, ball.times)
    for key in ("kind", "name", "source", "noise"):
        assert getattr(back, key) == getattr(ball, key)
    for key in ("fit", "test", "gravity"):
        np.testing.assert_array_equal(getattr(back, key), getattr(ball, key))
    for key, value in vars(ball.known).items():
        np.testing.assert_array_equal(getattr(back.known, key), value, err_msg=key)
    assert {name: c.to_dict() for name, c in back.cameras.items()} == {name: c.to_dict() for name, c in ball.cameras.items()}
    for name in ball.cameras:
        for i in range(ball.frame_count):
            colour, depth, mask = back.colour[name][i], back.depth[name][i], back.mask[name][i]
            assert (colour.dtype, depth.dtype, mask.dtype) == (np.float32, np.float32, bool)
            np.testing.assert_allclose(colour, ball.colour[name][i], atol=0.5001 / 255)
            np.testing.assert_array_equal(np.isnan(depth), np.isnan(ball.depth[name][i]))
            np.testing.assert_allclose(depth, ball.depth[name][i], atol=0.000501)
            np.testing.assert_array_equal(mask, ball.mask[name][i])
    for i in range(ball.frame_count):
        np.testing.assert_array_equal(back.points[i], ball.points[i])
    np.testing.assert_array_equal(back.tracks.positions, ball.tracks.positions)
    np.testing.assert_array_equal(back.tracks.visible, ball.tracks.visible)
    np.testing.assert_array_equal(back.tracks.rest, ball.tracks.rest)
    np.testing.assert_array_equal(back.mesh.points, ball.mesh.points)
    np.testing.assert_array_equal(back.mesh.cells, ball.mesh.cells)
    hand, given = back.handles["hand"], ball.handles["hand"]
    np.testing.assert_array_equal(hand.times, given.times)
    np.testing.assert_array_equal(hand.positions, given.positions)
    np.testing.assert_allclose(hand.rotations, given.rotations, atol=1e-14)
    np.testing.assert_array_equal(hand.opening, given.opening)
    assert hand.radius == given.radius
    np.testing.assert_array_equal(hand.places, given.places)
    np.testing.assert_allclose(back.cloud(2), ball.cloud(2), atol=0.0006)


def test_frames_that_are_missing_are_missing_again(ball, tmp_path):
    ball.depth["front"][2] = ball.mask["front"][2] = None
    ball.points[0] = None
    ball.save(tmp_path / "c")
    back = loaded(tmp_path / "c")
    assert back.depth["front"][2] is None and back.mask["front"][2] is None and back.points[0] is None
    assert back.depth["front"][1] is not None
    assert check_capture(tmp_path / "c") == []


@pytest.mark.parametrize(
    "mesh",
    [
        box_mesh((0.1, 0.1, 0.1), (1, 1, 1), order=2),
        sheet_mesh((0.1, 0.1), (3, 3)),
        Curve(np.array([[0, 0, 0], [0, 0, 0.05], [0, 0.01, 0.1]]), normal=(1, 0, 0), arm=0.01, grips=(0,), framed=False),
        Curve(np.array([[0.05, 0, 0], [0, 0.05, 0], [-0.05, 0, 0], [0, -0.05, 0]]), closed=True),
        SurfaceMesh(box_mesh((0.1, 0.1, 0.1), (1, 1, 1)).points, box_mesh((0.1, 0.1, 0.1), (1, 1, 1)).surface().astype(np.int32)),
    ],
    ids=["ten nodes", "sheet", "rod", "ring", "surface"],
)
def test_each_rest_shape_survives(ball, tmp_path, mesh):
    kind = {"TriMesh": "sheet", "Curve": "rod"}.get(type(mesh).__name__, "solid")
    Capture(times=ball.times, tracks=ball.tracks, mesh=mesh, kind=kind).save(tmp_path / "c")
    back = loaded(tmp_path / "c").mesh
    assert type(back) is type(mesh)
    for key, value in vars(mesh).items():
        np.testing.assert_array_equal(getattr(back, key), value, err_msg=key)


def test_a_capture_may_hold_tracks_or_points_alone(ball, tmp_path):
    Capture(times=ball.times, tracks=SeenTracks(ball.tracks.positions)).save(tmp_path / "a")
    assert loaded(tmp_path / "a").sensors == ("tracks",)
    Capture(times=ball.times, points=ball.points).save(tmp_path / "b")
    assert loaded(tmp_path / "b").sensors == ("points",)


def test_the_writer_takes_frames_as_they_come(ball, tmp_path):
    camera = ball.cameras["front"]
    with CaptureWriter(tmp_path / "c", {"front": camera}, rate=20.0, kind="solid", test=[2]) as writer:
        for i in range(3):
            colour = np.rint(255 * ball.colour["front"][i]).astype(np.uint8)
            assert writer.add_frame(colour=colour, depth=ball.depth["front"][i], tracks=ball.tracks.positions[i] if i != 1 else None) == i
        writer.set_handle("hand", ball.handles["hand"])
        assert not (tmp_path / "c").exists()
    back = loaded(tmp_path / "c")
    np.testing.assert_allclose(back.times, [0, 0.05, 0.1])
    np.testing.assert_array_equal(back.colour["front"][0], np.rint(255 * ball.colour["front"][0]).astype(np.float32) / np.float32(255))
    assert not back.tracks.visible[1].any() and back.tracks.visible[0].any()
    np.testing.assert_array_equal(back.fit, [0, 1])
    with pytest.raises(InputError, match="closed"):
        writer.add_frame(points=np.zeros((1, 3)))


def test_an_error_leaves_the_old_capture_and_no_rubbish(folder, ball):
    before = (folder / "capture.json").read_bytes()
    with pytest.raises(ZeroDivisionError), CaptureWriter(folder, ball.cameras) as writer:
        writer.add_frame(0.0, points=np.zeros((3, 3)))
        raise ZeroDivisionError
    with pytest.raises(InputError, match="neither depth nor points nor tracks"), CaptureWriter(folder, ball.cameras) as writer:
        writer.add_frame(0.0, colour={"front": ball.colour["front"][0]})
    with pytest.raises(InputError, match="no frame was added"), CaptureWriter(folder):
        pass
    assert (folder / "capture.json").read_bytes() == before
    assert [p.name for p in folder.parent.iterdir()] == ["ball"]
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "thesis.txt").write_text("important")
    with pytest.raises(InputError, match="holds something else"):
        ball.save(folder.parent / "other")


def test_a_saved_capture_takes_the_place_of_an_old_one_whole(folder, ball):
    Capture(times=ball.times, tracks=ball.tracks).save(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["capture.json", "tracks.npz"]


def test_frames_that_do_not_fit_are_refused_by_name_and_number(ball, tmp_path):
    writer = CaptureWriter(tmp_path / "c", ball.cameras)
    good = ball.depth["front"][0]
    cases = [
        ({"time": None}, "no time was given"),
        ({"depth": {"top": good}}, "no camera 'top'; there are front, side cam"),
        ({"depth": good}, "2 cameras; give a dict"),
        ({"depth": {"front": good.T}}, r"depth of camera 'front', frame 0: float32 of shape \[40, 32\]"),
        ({"depth": {"front": -good}}, "must lie in"),
        ({"depth": {"front": 1000 * good}}, "give metres"),
        ({"colour": {"front": 255 * ball.colour["front"][0]}}, r"must lie in \[0, 1\]"),
        ({"colour": {"front": np.full((32, 40, 3), np.nan)}}, r"be no NaN"),
        ({"colour": {"front": np.zeros((32, 40, 3), int)}}, "floats from 0 to 1"),
        ({"mask": {"front": np.full((32, 40), 2)}}, "give bool"),
        ({"points": [[0, 0, np.nan]]}, "NaN"),
        ({"points": np.zeros((3, 2))}, r"shape \[3, 2\]"),
        ({"tracks": np.full((3, 3), np.inf)}, "tracks of frame 0"),
    ]
    for given, said in cases:
        with pytest.raises(InputError, match=said):
            writer.add_frame(**({"time": 0.0} | given))
    writer.add_frame(0.5, points=np.zeros((3, 3)), tracks=np.zeros((4, 3)))
    with pytest.raises(InputError, match="each must be later"):
        writer.add_frame(0.5, points=np.zeros((3, 3)))
    with pytest.raises(InputError, match="the same points"):
        writer.add_frame(0.6, tracks=np.zeros((5, 3)))
    with pytest.raises(InputError, match="one way"):
        writer.set_tracks(np.zeros((1, 4, 3)))
    writer.close()
    assert loaded(tmp_path / "c").frame_count == 1


@pytest.mark.parametrize("name", ["", "../a", "a/b", "a\\b", ".", "..", ".hidden", "a\nb", "ends ", "x" * 65, "nul\0"])
def test_names_that_would_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="names files"):
        CaptureWriter(tmp_path / "c", {name: Camera(4, 4, (5, 5))})
    with CaptureWriter(tmp_path / "c") as writer:
        writer.add_frame(0.0, points=np.zeros((1, 3)))
        with pytest.raises(InputError, match="names files"):
            writer.set_handle(name, Handle([0.0], [[0, 0, 0]]))


def test_depth_is_written_in_whole_millimetres_that_any_program_reads(folder, ball):
    with Image.open(folder / "depth" / "front" / "000003.png") as image:
        raw = np.asarray(image)
    assert raw.dtype == np.uint16
    given = ball.depth["front"][3]
    np.testing.assert_array_equal(raw, np.rint(np.nan_to_num(given, nan=0.0).astype(float) * 1000))
    assert json.loads((folder / "capture.json").read_text())["units"] == {"length": "m", "time": "s", "mass": "kg"}


def test_tracks_that_are_refused_leave_no_trace(ball, tmp_path):
    with CaptureWriter(tmp_path / "c", ball.cameras) as writer:
        writer.add_frame(0.0, points=np.zeros((3, 3)))
        for wrong in (np.zeros((4, 2)), [[0.0, 0.0, 0.0], [0.0]], np.full((4, 3), np.inf), "abc"):
            with pytest.raises(InputError, match="tracks of frame 1"):
                writer.add_frame(0.1, tracks=wrong)
        writer.add_frame(0.2, points=np.zeros((3, 3)))
        writer.add_frame(0.3, points=np.zeros((3, 3)), tracks=np.zeros((5, 3)))
    assert loaded(tmp_path / "c").tracks.visible.sum(axis=1).tolist() == [0, 0, 5]


def test_tracks_are_given_one_way_or_the_other(ball, tmp_path):
    with CaptureWriter(tmp_path / "c", ball.cameras) as writer:
        writer.set_tracks(np.zeros((1, 4, 3)))
        with pytest.raises(InputError, match="given at once"):
            writer.add_frame(0.0, tracks=np.zeros((4, 3)))
        writer.add_frame(0.0)
