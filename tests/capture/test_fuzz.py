"""Whatever bytes a capture's files hold, checking never raises and loading raises nothing but an InputError."""

import shutil
import warnings

import numpy as np
import pytest

from physsim.capture.capture import Capture
from physsim.capture.check import check_capture
from physsim.errors import InputError
from physsim.report.video import write_video

FILES = [
    "capture.json",
    "tracks.npz",
    "mesh.npz",
    "mesh.obj",
    "mesh.msh",
    "handles/hand.csv",
    "rgb/front/000001.png",
    "rgb/side cam.mp4",
    "depth/front/000001.png",
    "mask/front/000001.png",
    "points/000001.npy",
    "points/000002.ply",
    "robot.urdf",
    "joints.csv",
]


@pytest.fixture(scope="module")
def rng():
    """The same mutations each time: a failure must come again."""
    return np.random.default_rng(6)


def mutated(content, rng):
    """The bytes with one to twenty of them changed, a piece cut out, doubled or taken from another place, or the end cut off."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        at, other = rng.integers(0, len(data), 2)
        length = int(rng.integers(1, max(2, len(data) // 8)))
        way = rng.integers(6)
        if way == 0:
            data[at:] = b""
        elif way == 1:
            data[at : at + length] = b""
        elif way == 2:
            data[at:at] = data[other : other + length]
        elif way == 3:
            data[at : at + length] = rng.integers(0, 256, len(data[at : at + length]), dtype=np.uint8).tobytes()
        else:
            for place in rng.integers(0, len(data), int(rng.integers(1, 20))):
                data[place] = rng.integers(256)
    return bytes(data)


def write_others(folder, ball):
    """Files of the kinds that the ball's own folder lacks."""
    points = ball.points[2]
    (folder / "points" / "000002.npy").unlink()
    rows = "".join(f"{x} {y} {z}\n" for x, y, z in points)
    header = f"ply\nformat ascii 1.0\nelement vertex {len(points)}\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    (folder / "points" / "000002.ply").write_text(header + rows)
    shutil.rmtree(folder / "rgb" / "side cam")
    write_video(folder / "rgb" / "side cam.mp4", [np.full((30, 36, 3), 30 * i, np.uint8) for i in range(6)])
    corners, faces = ball.mesh.points, ball.mesh.surface()
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + ["f " + " ".join(map(str, face + 1)) for face in faces]
    (folder / "mesh.obj").write_text("\n".join(lines) + "\n")
    import meshio

    meshio.gmsh.write(folder / "mesh.msh", meshio.Mesh(corners, [("tetra", ball.mesh.cells)]), "4.1", binary=False)
    (folder / "robot.urdf").write_text(
        '<robot name="r"><link name="base"/><link name="tip"/><joint name="slide" type="prismatic"><parent link="base"/><child link="tip"/>'
        '<axis xyz="0 0 1"/><limit lower="-1" upper="1" effort="1" velocity="1"/></joint></robot>'
    )
    (folder / "joints.csv").write_text("time,slide\n0,0.36\n0.1,0.35\n0.4,0.34\n")


@pytest.mark.parametrize("file", FILES)
def test_mutated_files_never_raise_anything_else(folder, ball, edit, rng, file):
    write_others(folder, ball)
    if file.startswith("mesh."):
        edit(lambda f: f.update(mesh={"file": file}))
    edit(lambda f: f.update(robot={"links": {"tip": "tip"}}))
    assert not [p for p in check_capture(folder) if p.severity == "error"]
    path = folder / file
    whole = path.read_bytes()
    for stream in ("rgb", "depth", "mask", "points", "handles"):  # a folder of few files: many more mutations a second
        if file != "capture.json" and not file.startswith(stream):
            shutil.rmtree(folder / stream)
    refused = 0
    for _ in range(12):
        path.write_bytes(mutated(whole, rng))
        for problem in check_capture(folder):
            assert str(problem).isprintable()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                capture = Capture.load(folder)
            for stream in [*capture.colour.values(), *capture.depth.values(), *capture.mask.values(), capture.points or ()]:
                for frame in range(len(stream)):
                    stream[frame]
        except InputError:
            refused += 1
    assert refused > 0
