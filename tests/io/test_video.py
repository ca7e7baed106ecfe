"""Videos are read frame by frame, and what is no mp4, damaged or endless is refused in time."""

import os
import subprocess
import time

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io import video
from physsim.io.video import video_frames
from physsim.report.video import write_video


@pytest.fixture
def film(tmp_path):
    """A video of ten grey frames of 48 x 32 pixels, each lighter than the one before."""
    return write_video(tmp_path / "film.mp4", [np.full((32, 48, 3), 20 * i + 10, np.uint8) for i in range(10)])


def test_frames_come_in_order_whatever_their_times(film):
    frames = list(video_frames(film, (48, 32)))
    assert len(frames) == 10
    assert all(f.shape == (32, 48, 3) and f.dtype == np.uint8 for f in frames)
    np.testing.assert_allclose([f.mean() for f in frames], 20 * np.arange(10) + 10, atol=2)


def test_other_sizes_are_refused_by_name(film):
    with pytest.raises(InputError, match=r"film\.mp4: frame 0 has 48 x 32 pixels, 32 x 48 are needed"):
        next(video_frames(film, (32, 48)))
    assert next(video_frames(film)).shape == (32, 48, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", b"ffconcat version 1.0\nfile '/etc/hostname'\n"],
    ids=["empty", "nonsense", "playlist", "list of files"],
)
def test_what_is_no_mp4_is_refused(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mp4: (cannot be decoded from frame 0|the file is empty)"):
        list(video_frames(tmp_path / "a.mp4"))
    with pytest.raises(InputError, match="no such file"):
        list(video_frames(tmp_path / "b.mp4"))


def test_mutated_videos_end_or_are_refused(film, rng):
    whole = np.frombuffer(film.read_bytes(), np.uint8)
    for _ in range(20):
        hurt = whole.copy()
        at = rng.integers(0, len(hurt), 10)
        hurt[at] = rng.integers(0, 256, 10)
        film.write_bytes(hurt.tobytes())
        try:
            for frame in video_frames(film, (48, 32)):
                assert frame.shape == (32, 48, 3)
        except InputError as error:
            assert "film.mp4" in str(error)


def test_a_reader_that_stops_leaves_no_process(film, monkeypatch):
    started = []

    def watched(*arguments, **options):
        started.append(original(*arguments, **options))
        return started[-1]

    original = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", watched)
    frames = video_frames(film)
    next(frames)
    frames.close()
    assert started[0].returncode is not None


@pytest.mark.skipif(os.name == "nt", reason="a stand-in for ffmpeg is a shell script")
def test_a_decoder_that_hangs_is_ended(film, tmp_path, monkeypatch):
    import imageio_ffmpeg

    script = tmp_path / "slow"
    script.write_text("#!/bin/sh\nexec sleep 60\n")
    script.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(script))
    monkeypatch.setattr(video, "FRAME_SECONDS", 0.5)
    begin = time.monotonic()
    with pytest.raises(InputError, match=r"took more than 0\.5 s"):
        next(video_frames(film))
    assert time.monotonic() - begin < 10.0
