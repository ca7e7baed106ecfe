"""Pictures drawn in simulated positions, against pictures of the same splats."""

import numpy as np
import pytest
from made_captures import block, camera, capture_of, scene_of, slid

import physsim as ps
from physsim.errors import InputError
from physsim.twin import trivial
from physsim.twin.judge import judge
from physsim.twin.pictures import painter, picture_errors
from physsim.twin.seen import Seen

TIMES = np.arange(4) * 0.1


@pytest.fixture(scope="module")
def drawn():
    """A block whose splats a camera saw, as a capture, with what draws it."""
    mesh = block()
    stripes = lambda x: 0.5 + 0.45 * np.sin(300.0 * x[:, :1] + np.array([0.0, 2.0, 4.0]))  # noqa: E731
    asset = ps.Asset("block", mesh, splats=ps.splats_from_mesh(mesh, 1500, colours=stripes))
    draw = painter(asset)
    positions = slid(mesh, TIMES, (0.03, 0, 0))
    capture, _ = capture_of(mesh, positions, TIMES, fit=np.arange(2), test=np.arange(2, 4))
    seen = [draw(camera(), x) for x in positions]
    rng = np.random.default_rng(4)
    pictures = {"front": [colour + 0.02 * rng.standard_normal(colour.shape).astype(np.float32) for colour, _, _ in seen]}
    masks = {"front": [alpha > 0.5 for _, alpha, _ in seen]}
    return mesh, ps.Capture(TIMES, capture.cameras, pictures, capture.depth, masks, fit=capture.fit, test=capture.test), positions, draw


def test_where_the_positions_are_right_the_pictures_are(drawn):
    mesh, capture, positions, draw = drawn
    found = judge(capture, scene_of(mesh), positions, draw=draw)
    wrong = judge(capture, scene_of(mesh), positions + [0.004, 0, 0], draw=draw)
    assert found.mean("psnr").value == pytest.approx(-20 * np.log10(0.02), abs=1.0)  # of the pictures' noise alone
    assert found.mean("ssim").value > 0.95
    assert wrong.mean("psnr").value < found.mean("psnr").value - 8.0
    assert found.mean("psnr").value > found.mean("psnr", trivial.HELD).value + 5.0
    assert found.mean("iou", trivial.HELD).frames == 2


def test_a_picture_of_nothing_is_not_judged(drawn):
    _, capture, positions, draw = drawn
    assert picture_errors(Seen(capture), "front", 0, positions[0] + [5.0, 0, 0], lambda c, x: (np.zeros((60, 80, 3)), np.zeros((60, 80)),
                                                                                             np.zeros((60, 80)))) is not None  # fmt: skip
    empty = ps.Capture(TIMES, capture.cameras, capture.colour, capture.depth, {"front": [np.zeros((60, 80), bool)] * 4})
    assert picture_errors(Seen(empty), "front", 0, positions[0] + [5.0, 0, 0], draw) is None


def test_an_asset_without_splats_cannot_be_drawn():
    with pytest.raises(InputError, match="no splats"):
        painter(ps.Asset("block", block()))
