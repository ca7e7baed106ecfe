"""Each thing that can be wrong with a capture is told with its file, its frame and what to do; what is right is not complained about."""

import json
import os
import pickle
import struct
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from physsim.capture.capture import Capture
from physsim.capture.check import check_capture
from physsim.capture.command import main
from physsim.capture.problems import MOST_OF_A_KIND
from physsim.errors import InputError
from physsim.report.video import write_video


def told(folder, severity, file, message, frame=...):
    """The one problem of this severity, file and frame whose text holds `message`; it must have a remedy."""
    problems = check_capture(folder)
    found = [p for p in problems if p.severity == severity and p.file == file and message in p.message and frame in (..., p.frame)]
    assert len(found) == 1, "\n".join(map(str, problems))
    assert found[0].remedy
    return found[0]


def refused(folder, message):
    """Loading raises an InputError that says so."""
    with pytest.raises(InputError, match=message):
        Capture.load(folder)


def test_a_sound_capture_has_no_problem(folder, capsys):
    assert check_capture(folder) == []
    assert main(folder) == 0
    out = capsys.readouterr().out
    for line in (
        "capture  ball (closed form)",
        "kind     solid",
        "frames   6 over",
        "fit 0-3, test 4-5",
        "camera   side cam, 36 x 30 pixels: colour, depth, mask",
        "tracks   30 points",
        "handle   hand, 9 poses from 0 to",
        "mesh     TetMesh of 27 points",
        "0 errors, 0 warnings",
    ):
        assert line in out


@pytest.mark.parametrize(
    ("change", "severity", "message", "remedy"),
    [
        (lambda f: f.pop("format"), "error", "format is None", "physsim capture"),
        (lambda f: f.update(version=2), "error", "version is 2", "reads version 1"),
        (lambda f: f.pop("units"), "error", "units are None", "write"),
        (lambda f: f["units"].update(length="mm"), "error", "units are", "convert"),
        (lambda f: f.update(gravty=[0, 0, 1]), "warning", "unknown key 'gravty'", 'did you mean "gravity"?'),
        (lambda f: f["cameras"]["front"].update(fX=1), "warning", "unknown key 'cameras.front.fX'", 'did you mean "fx"?'),
        (lambda f: f["known"].update(colour=1), "warning", "unknown key 'known.colour'", "known are mass"),
        (lambda f: f.update(gravity=[0, 0, -981.0]), "warning", "size 981", "fell otherwise"),
        (lambda f: f.update(gravity=[0, 0]), "error", "gravity is [0, 0]", "3 finite numbers"),
        (lambda f: f.update(gravity=[0, 0, float("nan")]), "error", "gravity is", "finite"),
        (lambda f: f.pop("gravity"), "warning", "gravity is missing", "write"),
        (lambda f: f.pop("times"), "error", "times is missing", "seconds"),
        (lambda f: f.update(times=[]), "error", "times is an empty list", "seconds"),
        (lambda f: f.update(times={"rate": 0, "count": 6}), "error", "times.rate = 0", "(0, inf)"),
        (lambda f: f.update(times={"rate": 30, "count": 10**9}), "error", "times.count is 1000000000", "whole number"),
        (lambda f: f.update(kind="cloth"), "error", "kind = 'cloth'", "sheet"),
        (lambda f: f["cameras"]["front"].pop("fx"), "error", "cameras.front.fx is missing", "number"),
        (lambda f: f["cameras"]["front"].update(width=0), "error", "cameras.front.width is 0", "pixels"),
        (lambda f: f["cameras"]["front"].update(width=9000, height=9000, fx=9e3, fy=9e3), "error", "9000 x 9000", "pixels"),
        (lambda f: f["cameras"]["front"].update(distortion=[1, 2]), "error", "2 coefficients", "OpenCV"),
        (lambda f: f["cameras"]["front"].update(cx=400.0), "warning", "outside the picture of 40 x 32", "order"),
        (lambda f: f["cameras"]["front"].update(fx=3000.0, fy=3000.0), "warning", "are odd for 40 x 32", "pixels"),
        (lambda f: f["known"].update(mass=-1), "error", "known.mass = -1", "(0, inf)"),
        (lambda f: f["known"].update(poisson=0.5), "error", "known.poisson = 0.5", "(-1, 0.5)"),
        (lambda f: f["known"].update(ground=0.0), "error", "known.ground is 0.0", "normal"),
        (lambda f: f["known"]["ground"].update(normal=[0, 0, 0]), "error", "no length", "direction"),
        (lambda f: f["known"]["ground"].update(normal=[0, 0, -1]), "warning", "along gravity", "upward"),
        (lambda f: f["known"].update(length=120.0), "error", "known.length measures 120 m", "millimetres"),
        (lambda f: f["known"].update(weights=[[0, 0, 0]]), "error", "known.weights is", "any x 4"),
        (lambda f: f["known"].update(weights=[[0, 0, 0, 0]]), "error", "a mass is not positive", "rows"),
        (lambda f: f.update(fit=[[0, 9]]), "error", "fit: [0, 9] is out of range", "there are 6 frames"),
        (lambda f: f.update(fit=[[3, 2]]), "error", "fit: [3, 2] is out of range", "first < end"),
        (lambda f: f.update(fit=[[0, 3], [2, 4]]), "error", "begins before [0, 3] ends", "order"),
        (lambda f: f.update(fit=[0, 4]), "error", "fit is [0, 4]", "half-open"),
        (lambda f: f.update(fit=[]), "error", "fit names no frame", "two thirds"),
        (lambda f: f.update(test=[[3, 5]]), "error", "fit and test share 1 frames, from 3 on", "must not be fitted"),
        (lambda f: f["noise"].update(depht=1), "warning", "unknown sensor 'depht'", 'did you mean "depth"?'),
        (lambda f: f["noise"].update(depth=-1), "error", "noise.depth = -1", "(0, inf)"),
        (lambda f: f["handles"].update(foot={}), "warning", "no handles/foot.csv", "leave"),
        (lambda f: f["handles"]["hand"].update(radius="big"), "error", "handles.hand.radius is 'big'", "number"),
        (lambda f: f.update(missing={"depth/top": [1]}), "warning", "no stream 'depth/top'", "CAMERA"),
        (lambda f: f.update(missing={"depth/front": [17]}), "error", "missing.depth/front is [17]", "frame numbers"),
        (lambda f: f["mesh"].update(kind="voxels"), "error", "kind 'voxels'", ""),
        (lambda f: f["mesh"].update(file="../../secret.npz"), "error", "leads out of the folder", "copy"),
        (lambda f: f["mesh"].update(file="/etc/passwd"), "error", "leads out of the folder", "copy"),
        (lambda f: f["mesh"].update(file="none.obj"), "error", "no such file", "put it there"),
        (lambda f: f["cameras"].update({"../x": {}}), "error", "cannot be a name", "letters"),
        (lambda f: f.update(name=["a"]), "error", "name is no text", "write"),
    ],
)
def test_what_capture_json_says_wrongly_is_told(folder, edit, change, severity, message, remedy):
    edit(change)
    problems = check_capture(folder)
    found = [p for p in problems if message in p.message]
    assert [p.severity for p in found] == [severity], "\n".join(map(str, problems))
    assert remedy in found[0].remedy
    assert main(folder) == (2 if severity == "error" else 0)
    if severity == "error" and "length" not in message:  # that one takes a look at all frames
        with pytest.raises(InputError):
            Capture.load(folder)


def rotated(how):
    """A change that sets the front camera's rotation."""

    def change(facts):
        camera = facts["cameras"]["front"]
        camera["rotation"] = how(np.array(camera["rotation"])).tolist()

    return change


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (lambda r: r * [[-1], [1], [1]], "is a mirror"),
        (lambda r: 1.01 * r, "is scaled by 1.01"),
        (lambda r: r + [[0, 0, 0.01], [0, 0, 0], [0, 0, 0]], "is no rotation"),
        (lambda r: 0 * r, "is no rotation"),
        (lambda r: np.round(r, 2), "is no rotation"),
        (lambda r: np.full((3, 3), 1e300), "is no rotation"),
    ],
)
def test_a_pose_that_is_no_rotation_is_told_with_what_it_is(folder, edit, how, message):
    edit(rotated(how))
    told(folder, "error", "capture.json", f"cameras.front.rotation {message}")


def test_times_that_go_back_or_repeat_are_told_one_by_one(folder, edit):
    edit(lambda f: f.update(times=[0.0, 0.1, 0.05, 0.2, 0.2, 0.3]))
    told(folder, "error", "capture.json", "times[2] = 0.05 s goes back from 0.1 s", 2)
    told(folder, "error", "capture.json", "times[4] = 0.2 s repeats the one before", 4)


def test_all_problems_are_listed_not_the_first_alone(folder, edit):
    edit(lambda f: (f.update(kind="cloth", gravity=[1]), f["cameras"]["front"].update(fy=0)))
    (folder / "depth" / "side cam" / "000001.png").unlink()
    (folder / "rgb" / "side cam" / "000002.png").write_bytes(b"no picture")
    (folder / "handles" / "hand.csv").write_text("time,x,y\n0,0,0\n")
    problems = check_capture(folder)
    files = [(p.file, p.frame) for p in problems if p.severity == "error"]
    for wanted in (
        ("capture.json", None),
        ("depth/side cam/000001.png", 1),
        ("rgb/side cam/000002.png", 2),
        ("handles/hand.csv", None),
    ):
        assert wanted in files
    assert sum(p.file == "capture.json" for p in problems) == 3
    with pytest.raises(InputError, match=r"5 errors.*kind = 'cloth'.*gravity.*fy = 0.*hand\.csv.*x, y"):
        Capture.load(folder)


def test_missing_frames_are_told_unless_they_are_said_to_be_missing(folder, edit):
    (folder / "depth" / "front" / "000004.png").unlink()
    (folder / "points" / "000002.npy").unlink()
    told(folder, "error", "depth/front/000004.png", "is missing", 4)
    told(folder, "error", "points/000002.npy", "is missing", 2)
    refused(folder, "000004.png, frame 4: is missing")
    edit(lambda f: f.update(missing={"depth/front": [4], "points": [2]}))
    assert check_capture(folder) == []
    assert Capture.load(folder).depth["front"][4] is None


def test_frames_that_are_numbered_from_one_are_told_so(folder):
    for frame in range(5, -1, -1):
        (folder / "mask" / "front" / f"00000{frame}.png").rename(folder / "mask" / "front" / f"00000{frame + 1}.PNG")
    assert "numbered from 000000" in told(folder, "error", "mask/front/000000.png", "is missing", 0).remedy
    assert len([p for p in check_capture(folder) if p.severity == "error"]) == 1


def test_too_many_handles_are_told(folder):
    text = (folder / "handles" / "hand.csv").read_text()
    for i in range(64):
        (folder / "handles" / f"h{i}.csv").write_text(text)
    told(folder, "error", "handles", "65 handles")


def test_many_alike_are_counted(folder, edit):
    edit(lambda f: f.update(times={"rate": 30.0, "count": 200}, fit=None, test=None))
    missing = [p for p in check_capture(folder) if p.file.startswith("depth/front")]
    assert len(missing) == MOST_OF_A_KIND + 1
    assert missing[-1].message == f"{194 - MOST_OF_A_KIND} more problems of frames"


@pytest.mark.parametrize("stream", ["rgb/front", "depth/front", "mask/front"])
def test_unreadable_pictures_and_other_sizes_are_told_by_frame(folder, stream):
    path = folder / stream / "000003.png"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    told(folder, "error", f"{stream}/000003.png", "damaged or cut short", 3)
    path.write_bytes(b"")
    told(folder, "error", f"{stream}/000003.png", "empty", 3)
    with Image.open(folder / stream / "000002.png") as image:
        image.crop((0, 0, 20, 30)).save(path)
    told(folder, "error", f"{stream}/000003.png", "20 x 30 pixels, but its camera has 40 x 32", 3)
    capture = Capture.load(folder)  # which looks at no pixel
    with pytest.raises(InputError, match=r"000003\.png.*20 x 30"):
        {"rgb": capture.colour, "depth": capture.depth, "mask": capture.mask}[stream[:-6]]["front"][3]


@pytest.mark.parametrize(
    ("factor", "said"),
    [(0.001, "multiply by 1000 if these are metres"), (0.1, "10 if these are centimetres"), (20.0, "0.1 if these are units of 0.1 mm")],
)
def test_depth_in_other_units_is_told_with_the_likely_factor(folder, factor, said):
    for path in (folder / "depth" / "front").iterdir():
        with Image.open(path) as image:
            raw = np.asarray(image)
        Image.fromarray(np.ceil(raw * factor).astype(np.uint16)).save(path)
    assert said in told(folder, "error", "depth/front", "outside 0.1 to 10 m").remedy


def test_depth_of_eight_bits_is_refused(folder):
    Image.fromarray(np.full((32, 40), 100, np.uint8)).save(folder / "depth" / "front" / "000000.png")
    told(folder, "error", "depth/front/000000.png", "one channel of 16 bits is needed", 0)


def test_empty_masks_are_errors_unless_the_body_was_leaving(folder, edit):
    empty = Image.fromarray(np.zeros((32, 40), np.uint8))
    empty.save(folder / "mask" / "front" / "000002.png")
    told(folder, "error", "mask/front/000002.png", "the mask is empty, though the body was well inside the picture in frame 1", 2)
    edge = np.zeros((32, 40), np.uint8)
    edge[10:20, 37:] = 255
    Image.fromarray(edge).save(folder / "mask" / "front" / "000001.png")
    told(folder, "warning", "mask/front/000002.png", "the mask is empty", 2)
    for path in (folder / "mask" / "front").iterdir():
        empty.save(path)
    told(folder, "error", "mask/front", "every mask is empty")


def test_masks_of_ones_of_colours_and_upside_down_are_told(folder):
    Image.fromarray(np.eye(32, 40).astype(np.uint8)).save(folder / "mask" / "front" / "000001.png")
    told(folder, "error", "mask/front/000001.png", "its brightest pixel is 1 of 255", 1)
    Image.fromarray(np.full((32, 40, 3), (0, 255, 0), np.uint8)).save(folder / "mask" / "front" / "000001.png")
    told(folder, "error", "mask/front/000001.png", "must be grey", 1)
    for path in (folder / "mask" / "side cam").iterdir():
        with Image.open(path) as image:
            turned = Image.fromarray(255 - np.asarray(image))
        turned.save(path)
    told(folder, "warning", "mask/side cam", "of the picture")
    told(folder, "warning", "depth/side cam", "% of the mask's pixels")


def test_masks_that_belong_elsewhere_are_told(folder):
    for path in (folder / "mask" / "front").iterdir():
        with Image.open(path) as image:
            moved = Image.fromarray(np.roll(np.asarray(image), 13, axis=1))
        moved.save(path)
    told(folder, "warning", "mask/front", "of the tracks project outside the mask")


def handle_rows(folder, change):
    """Rewrites the hand's table: change(columns dict)."""
    path = folder / "handles" / "hand.csv"
    names, *rows = [line.split(",") for line in path.read_text().split()]
    columns = dict(zip(names, np.array(rows, float).T, strict=True))
    changed = change(columns)
    columns = changed if isinstance(changed, dict) else columns
    table = np.stack(list(columns.values()), axis=1).tolist()
    path.write_text("\n".join([",".join(columns), *(",".join(map(repr, row)) for row in table)]) + "\n")


@pytest.mark.parametrize(
    ("change", "severity", "message"),
    [
        (lambda c: c["x"].__iadd__(1.0), "error", "never near"),
        (lambda c: c.update(x=1000 * c["x"], y=1000 * c["y"], z=1000 * c["z"]), "error", "never near"),
        (lambda c: c["z"].__iadd__(np.linspace(0, 1, 9)), "error", "the handle leaves the body"),
        (lambda c: c["time"].__iadd__(100.0), "error", "miss the frames'"),
        (lambda c: c["time"].__imul__(0.5), "warning", "do not cover the frames'"),
        (lambda c: c["time"].__setitem__(3, c["time"][1]), "error", "in row 3 goes back"),
        (lambda c: c["time"].__setitem__(3, c["time"][2]), "error", "in row 3 repeats"),
        (lambda c: c["qw"].__imul__(2), "error", "has length 2"),
        (lambda c: {k: v for k, v in c.items() if k != "qy"}, "error", "columns qy are missing"),
        (lambda c: {k: v for k, v in c.items() if k != "z"}, "error", "column 'z' is missing"),
        (lambda c: c["opening"].__isub__(1), "error", "opening = -0.97"),
        (lambda c: c["y"].__setitem__(2, np.nan), "error", "nan (1 such values)"),
        (lambda c: c.update(grip=c["x"]), "warning", "unknown column 'grip'"),
    ],
)
def test_handles_that_cannot_be_are_told(folder, change, severity, message):
    handle_rows(folder, change)
    problems = check_capture(folder)
    found = [p for p in problems if p.file == "handles/hand.csv" and message in p.message]
    assert found and {p.severity for p in found} == {severity}, "\n".join(map(str, problems))
    assert all(p.remedy for p in found)


def test_a_clamp_of_one_row_stays_for_good(folder):
    handle_rows(folder, lambda c: {k: v[:1] for k, v in c.items()})
    assert check_capture(folder) == []
    handle_rows(folder, lambda c: c["x"].__iadd__(5.0) * 0)
    told(folder, "error", "handles/hand.csv", "never near")


def test_a_handle_far_from_its_places_is_as_near_as_they_are(folder, edit):
    handle_rows(folder, lambda c: c["z"].__iadd__(2.0) * 0)
    told(folder, "error", "handles/hand.csv", "never near")
    edit(lambda f: f["handles"]["hand"].update(places=[[0, 0, 0], [0, 0, -2.0]]))
    assert check_capture(folder) == []


def test_a_handle_that_opens_before_it_leaves_has_let_go(folder):
    def let_go(columns):
        columns["z"] += np.linspace(0, 1, 9)
        columns["opening"][:] = np.linspace(0.02, 0.1, 9)

    handle_rows(folder, let_go)
    assert [p.severity for p in check_capture(folder)] == ["warning"]


def tracks(folder, change):
    """Rewrites tracks.npz: change(arrays dict)."""
    with np.load(folder / "tracks.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(folder / "tracks.npz", **arrays)


def test_tracks_that_cannot_be_are_told_by_frame(folder):
    def spoil(arrays):
        arrays["xyz"][2, 4], arrays["visible"][2, 4] = np.nan, True
        arrays["xyz"][3, 5] = np.inf
        arrays["xyz"][0, 1] += 30.0

    tracks(folder, spoil)
    told(folder, "error", "tracks.npz", "xyz: 1 points are NaN though visible, the first is number 4", 2)
    told(folder, "error", "tracks.npz", "xyz: 1 points are infinite, the first is number 5", 3)
    tracks(
        folder, lambda a: a.update(xyz=np.where(np.isfinite(a["xyz"]), a["xyz"], 0), visible=np.isfinite(a["xyz"]).all(-1) & a["visible"])
    )
    told(folder, "warning", "tracks.npz", "xyz: 1 points lie far outside the others, the first is number 1", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(xyz=a["xyz"][:4], visible=a["visible"][:4]), "xyz has 4 frames, there are 6 times"),
        (lambda a: a.update(xyz=a["xyz"][..., :2]), "xyz has shape [6, 30, 2]"),
        (lambda a: a.update(visible=a["visible"].T), "visible has shape [30, 6]"),
        (lambda a: a.update(xyz=a["xyz"][:, :0], visible=a["visible"][:, :0], rest=a["rest"][:0]), "follows no point"),
        (lambda a: a.update(xyz=np.full((6, 30, 3), np.nan), visible=np.zeros((6, 30), bool)), "no point is ever seen"),
        (lambda a: a.update(rest=a["rest"][:3]), "rest has shape [3, 3]"),
        (lambda a: a.update(rest=a["rest"] * np.nan), "rest holds NaN"),
        (lambda a: a.update(positions=a.pop("xyz")), "holds no array xyz"),
        (lambda a: a.update(xyz=a["xyz"].astype(str)), "numbers"),
    ],
)
def test_tracks_of_another_form_are_refused(folder, change, message):
    tracks(folder, change)
    problems = [p for p in check_capture(folder) if p.file == "tracks.npz" and p.severity == "error"]
    assert len(problems) == 1 and message in problems[0].message + problems[0].remedy


def test_cameras_that_do_not_see_the_body_are_told_with_the_likely_reason(folder, edit):
    def inverted(facts):
        camera = facts["cameras"]["front"]
        r, t = np.array(camera["rotation"]), np.array(camera["translation"])
        camera.update(rotation=r.T.tolist(), translation=(-r.T @ t).tolist())

    def opengl(facts):
        camera = facts["cameras"]["side cam"]
        flip = np.diag([1.0, -1.0, -1.0])
        camera.update(rotation=(flip @ camera["rotation"]).tolist(), translation=(flip @ camera["translation"]).tolist())

    edit(lambda f: (inverted(f), opengl(f)))
    assert "camera to world" in told(folder, "warning", "capture.json", "cameras.front sees").remedy
    assert "OpenGL" in told(folder, "warning", "capture.json", "cameras.side cam sees").remedy


def test_depth_that_contradicts_the_tracks_is_told(folder):
    for path in (folder / "depth" / "front").iterdir():
        with Image.open(path) as image:
            Image.fromarray(np.asarray(image) * np.uint16(2)).save(path)
    told(folder, "warning", "depth/front", "what the tracks say")


def test_no_sensor_at_all_and_cameras_that_are_not_there_are_told(folder, ball):
    for name in ("depth/front", "depth/side cam", "points"):
        for path in (folder / name).iterdir():
            path.unlink()
        (folder / name).rmdir()
    (folder / "depth").rmdir()
    (folder / "tracks.npz").unlink()
    (folder / "rgb" / "front" / "000001.png").unlink()
    told(folder, "error", "", "holds neither depth nor points nor tracks")
    told(folder, "error", "rgb/front/000001.png", "is missing", 1)
    (folder / "rgb" / "top").mkdir()
    told(folder, "error", "rgb/top", "has no camera 'top'")
    (folder / "depth" / "front").mkdir(parents=True)
    told(folder, "error", "depth/front", "holds no frame")


def test_names_that_are_nearly_right_are_told(folder):
    (folder / "track.npz").write_bytes((folder / "tracks.npz").read_bytes())
    (folder / "masks").mkdir()
    (folder / "depth" / "front" / "6.png").write_bytes(b"")
    (folder / "depth" / "front" / "000006.png").write_bytes((folder / "depth" / "front" / "000005.png").read_bytes())
    (folder / "rgb" / "front" / "000001.jpg").write_bytes((folder / "rgb" / "front" / "000001.png").read_bytes())
    assert told(folder, "warning", "track.npz", "is not read").remedy == "did you mean tracks.npz?"
    assert told(folder, "warning", "masks", "is not read").remedy == "did you mean mask?"
    told(folder, "warning", "depth/front/6.png", "is no frame by its name")
    told(folder, "warning", "depth/front/000006.png", "lies beyond the 6 times", 6)
    told(folder, "error", "rgb/front/000001.png", "000001.jpg is there as well", 1)


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_pickles_are_told_and_never_run(folder):
    trap = folder.parent / "sprung"
    (folder / "final_data.pkl").write_bytes(pickle.dumps(Trap(trap)))
    (folder / "innocent.dat").write_bytes(pickle.dumps([Trap(trap)]))
    np.save(folder / "points" / "000001.npy", np.array([Trap(trap)], dtype=object), allow_pickle=True)
    np.savez(folder / "mesh.npz", points=np.array([Trap(trap)], dtype=object))
    np.savez(folder / "extra.npz", a=np.array([Trap(trap)], dtype=object))
    tracks(folder, lambda a: a.update(xyz=np.array([[[Trap(trap)] * 3]] * 6, dtype=object)))
    problems = check_capture(folder)
    for file in ("final_data.pkl", "innocent.dat", "points/000001.npy", "mesh.npz", "extra.npz", "tracks.npz"):
        found = [p for p in problems if p.file == file and p.severity == "error"]
        assert len(found) == 1 and "pickle" in found[0].message, file
    refused(folder, "pickle")
    assert not trap.exists()


def test_links_and_pipes_that_lead_elsewhere_are_told_and_not_followed(folder):
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "000001.png").write_bytes((folder / "depth" / "front" / "000001.png").read_bytes())
    (folder / "depth" / "front" / "000001.png").unlink()
    (folder / "depth" / "front" / "000001.png").symlink_to(outside / "000001.png")
    (folder / "rgb" / "top").symlink_to(outside)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "points" / "pipe.npy")
    told(folder, "error", "depth/front/000001.png", "is a link that leaves the folder")
    told(folder, "error", "rgb/top", "is a link that leaves the folder")
    told(folder, "error", "points/pipe.npy", "is no plain file")
    assert any(p.file == "loop" for p in check_capture(folder))
    refused(folder, "leaves the folder")
    (folder / "capture.json").rename(outside / "capture.json")
    (folder / "capture.json").symlink_to(outside / "capture.json")
    told(folder, "error", "capture.json", "leads out of the folder")


def test_bombs_are_refused_before_they_unpack(folder):
    header = np.lib.format
    with (
        zipfile.ZipFile(folder / "tracks.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xyz.npy", "w", force_zip64=True) as file,
    ):
        header.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (6, 2_500_000, 3)})
        for _ in range(3):
            file.write(bytes(120_000_000))
    told(folder, "error", "tracks.npz", "unpacks to 3600001")
    np.savez(folder / "tracks.npz", xyz=np.zeros((6, 3, 3)))
    with zipfile.ZipFile(folder / "tracks.npz", "w") as archive, archive.open("xyz.npy", "w") as file:
        header.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (6, 10**15, 3)})
    told(folder, "error", "tracks.npz", "declares shape [6, 1000000000000000, 3]")

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000)))
    (folder / "mask" / "front" / "000000.png").write_bytes(start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    small = (folder / "depth" / "front" / "000000.png").read_bytes()
    (folder / "depth" / "front" / "000000.png").write_bytes(small[:33] + text + small[33:])
    assert {p.file for p in check_capture(folder) if p.frame == 0} >= {"mask/front/000000.png", "depth/front/000000.png"}
    (folder / "points" / "000003.npy").write_bytes(
        b"\x93NUMPY\1\0" + struct.pack("<H", 60) + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9, 3)} \n\n"
    )
    told(folder, "error", "points/000003.npy", "declares shape [9, 3]", 3)


def video(folder, frames, size=(32, 40)):
    """Puts a video in place of the front camera's pictures."""
    for path in (folder / "rgb" / "front").glob("*"):
        path.unlink()
    (folder / "rgb" / "front").rmdir()
    write_video(folder / "rgb" / "front.mp4", [np.full((*size, 3), 40 * i + 20, np.uint8) for i in range(frames)])


def test_a_video_gives_the_frames_of_a_camera(folder):
    video(folder, 6)
    assert check_capture(folder) == []
    capture = Capture.load(folder)
    for i in (0, 5, 2, 3, 0):
        assert capture.colour["front"][i].shape == (32, 40, 3)
        np.testing.assert_allclose(capture.colour["front"][i], (40 * i + 20) / 255, atol=0.02)
    with pytest.raises(IndexError):
        capture.colour["front"][6]


def test_videos_that_end_early_go_on_are_of_another_size_or_no_video_are_told(folder):
    video(folder, 4)
    told(folder, "error", "rgb/front.mp4", "ends after frame 3, but there are 6 times", 4)
    capture = Capture.load(folder)
    capture.colour["front"][3]
    with pytest.raises(InputError, match="ends after frame 3"):
        capture.colour["front"][5]
    path = folder / "rgb" / "front.mp4"
    write_video(path, [np.zeros((32, 40, 3), np.uint8)] * 8)
    told(folder, "warning", "rgb/front.mp4", "goes on behind the 6 times")
    write_video(path, [np.zeros((32, 44, 3), np.uint8)] * 6)
    told(folder, "error", "rgb/front.mp4", "frame 0 has 44 x 32 pixels, 40 x 32 are needed", 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert [p.severity for p in check_capture(folder) if p.file == "rgb/front.mp4"] == ["error"]
    path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    told(folder, "error", "rgb/front.mp4", "cannot be decoded", 0)
    (folder / "rgb" / "front").mkdir()
    told(folder, "error", "rgb/front", "front.mp4 is there as well")


def test_what_is_no_capture_is_told(tmp_path):
    told(tmp_path / "none", "error", "", "no such folder")
    told(tmp_path, "error", "capture.json", "no such file")
    for content, message in (
        ("{", "not JSON"),
        ("[]", "holds no object"),
        ("[" * 100_000, "not JSON"),
        ("", "empty"),
        ('{"a":' * 900 + "1" + "}" * 900, ""),
    ):
        (tmp_path / "capture.json").write_text(content)
        problems = check_capture(tmp_path)
        assert problems and message in problems[0].message
        with pytest.raises(InputError):
            Capture.load(tmp_path)
    with pytest.raises(InputError, match="name of a folder"):
        check_capture(None)


def test_names_in_messages_cannot_play_with_a_terminal(folder, capsys):
    (folder / "depth" / "front" / "\x1b[2J.png").write_bytes(b"")
    assert main(folder) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\\x1b[2J.png" in out


def test_a_json_of_wild_values_is_told_and_never_raises(folder, rng):
    wild = [
        None,
        True,
        -1,
        1e308,
        10**400,
        "",
        "x" * 10_000,
        [],
        [[]],
        [[1, 2], [3]],
        {},
        {"": {}},
        [None],
        {"a": [1]},
        float("nan"),
        [[[[[]]]]],
    ]
    path = folder / "capture.json"
    facts = json.loads(path.read_text())
    base = {"position": [0, 0, 0], "quaternion": [1, 0, 0, 0]}
    links = {"tip": {"link": "tip", "point": [0, 0, 0.3], "opening": ["slide"]}}
    facts["robot"] = {"urdf": "robot.urdf", "joints": "joints.csv", "links": links, "base": base}
    facts["missing"] = {"points": [1], "depth/front": [0]}
    (folder / "robot.urdf").write_text(
        '<robot name="r"><link name="base"/><link name="tip"/><joint name="slide" type="prismatic"><parent link="base"/><child link="tip"/>'
        '<axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint></robot>'
    )
    (folder / "joints.csv").write_text("time,slide\n0,0.05\n0.4,0.04\n")

    def places(value, at=()):
        yield at
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, part in items:
            yield from places(part, (*at, key))

    every = [at for at in places(facts) if at]
    (folder / "rgb").rename(folder / ".rgb")  # pictures are not what is at stake here
    few = [at for at in every if len(at) < 4]  # the numbers of matrices and lists would be most of all
    for at in [few[i] for i in rng.integers(0, len(few), 45)] + [every[i] for i in rng.integers(0, len(every), 5)]:
        changed = json.loads(json.dumps(facts))
        part = changed
        for key in at[:-1]:
            part = part[key]
        part[at[-1]] = wild[rng.integers(len(wild))]
        path.write_text(json.dumps(changed))
        check_capture(folder)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                Capture.load(folder)
        except InputError:
            pass
