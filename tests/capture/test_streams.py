"""Frames are read when they are asked for, once, and what is handed out is the caller's own."""

import numpy as np
import pytest

from physsim.capture import streams
from physsim.capture.capture import Capture
from physsim.report.video import write_video


def test_loading_reads_no_picture_and_asking_reads_each_once(folder, monkeypatch):
    read = []

    def counted(path, size):
        read.append(path.name)
        return original(path, size)

    import physsim.capture.read as reader

    original = reader.read_depth
    monkeypatch.setattr(reader, "read_depth", counted)
    capture = Capture.load(folder)
    assert read == []
    for _ in range(3):
        capture.depth["front"][4]
    assert read == ["000004.png"]
    assert len(capture.depth["front"]) == 6
    np.testing.assert_array_equal(capture.depth["front"][-2], capture.depth["front"][4])
    with pytest.raises(IndexError):
        capture.depth["front"][6]


@pytest.mark.parametrize("kind", ["colour", "depth", "mask"])
def test_writing_into_a_frame_changes_no_later_one(folder, kind):
    stream = getattr(Capture.load(folder), kind)["front"]
    first = stream[0]
    kept = first.copy()
    first[...] = 0
    np.testing.assert_array_equal(stream[0], kept)


def test_what_is_kept_stays_within_its_bytes(folder, monkeypatch):
    monkeypatch.setattr(streams, "KEPT_BYTES", 40 * 32 * 2 * 2 + 10)  # two frames of depth
    stream = Capture.load(folder).depth["front"]
    for frame in range(6):
        stream[frame]
    assert list(stream._kept._frames) == [4, 5]
    stream[4]
    stream[0]
    assert list(stream._kept._frames) == [4, 0]


def test_going_back_in_a_video_that_is_not_kept_decodes_again(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "KEPT_VIDEO_BYTES", 0)
    write_video(tmp_path / "v.mp4", [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(8)])
    stream = streams.VideoFrames(tmp_path / "v.mp4", (48, 32), 8, missing=[3])
    for frame in (5, 2, 7, 7, 0):
        np.testing.assert_allclose(stream[frame].mean() * 255, 20 * frame, atol=2)
    assert stream[3] is None
    assert not stream.excess()
    stream.close()


def test_some_frames_of_a_loaded_capture_are_still_read_on_demand(folder, ball):
    part = Capture.load(folder).with_frames([1, 4])
    np.testing.assert_array_equal(part.mask["front"][1], ball.mask["front"][4])
    np.testing.assert_array_equal(part.points[0], ball.points[1])


def test_points_of_ply_files_are_those_of_npy_files(folder, ball):
    points = ball.points[2]
    (folder / "points" / "000002.npy").unlink()
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n"
    header += "property double x\nproperty double y\nproperty double z\nproperty uchar red\nend_header\n"
    rows = np.zeros(len(points), [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("red", "u1")])
    rows["x"], rows["y"], rows["z"] = points.T
    (folder / "points" / "000002.ply").write_bytes(header.encode() + rows.tobytes())
    np.testing.assert_array_equal(Capture.load(folder).points[2], points)


def test_no_decoder_waits_once_the_last_frame_was_read(tmp_path):
    write_video(tmp_path / "v.mp4", [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(8)])
    stream = streams.VideoFrames(tmp_path / "v.mp4", (48, 32), 6)
    stream[2]
    assert stream._running is not None
    stream[5]
    assert stream._running is None
    assert stream.excess()
    np.testing.assert_allclose(stream[1].mean() * 255, 20, atol=2)
