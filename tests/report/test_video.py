"""Frames become a video that plays everywhere, or a strip."""

import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from physsim.errors import InputError
from physsim.report import video


def frames(count=20, size=(64, 48)):
    for index in range(count):
        yield Image.new("RGB", size, (255 * index // count, 80, 160))


@pytest.mark.skipif(video.encoder_path() is None, reason="no H.264 encoder")
def test_a_video_is_h264_in_yuv420p_with_every_frame(tmp_path):
    path = video.write_video(tmp_path / "new" / "film.mp4", frames(), fps=10)
    assert path.suffix == ".mp4"
    told = subprocess.run([video.encoder_path(), "-i", str(path), "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    assert re.search(r"Video: h264.*yuv420p.*64x48.*10 fps", told)
    assert re.findall(r"frame=\s*(\d+)", told)[-1] == "20"


def test_a_strip_is_written_where_no_encoder_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "encoder_path", lambda: None)
    path = video.write_video(tmp_path / "film.mp4", frames())
    assert path == tmp_path / "film.png"
    with Image.open(path) as strip:
        assert strip.size == (4 * 400, 3 * 300)
        assert strip.getpixel((10, 10))[0] < strip.getpixel((1590, 890))[0]


def test_no_encoder_is_found_where_ffmpeg_is_missing(monkeypatch):
    import imageio_ffmpeg

    def missing():
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
    assert video.encoder_path() is None


@pytest.mark.parametrize(
    ("name", "given", "fps", "said"),
    [
        ("film.gif", frames(), 30, "written as .mp4"),
        ("film.mp4", [], 30, "no frame"),
        ("film.mp4", frames(size=(65, 48)), 30, "frame 0"),
        ("film.mp4", [np.zeros((48, 64, 3), np.uint8), np.zeros((48, 62, 3), np.uint8)], 30, "frame 1"),
        ("film.mp4", [np.zeros((48, 64, 3))], 30, "float64"),
        ("film.mp4", frames(), 0, "fps = 0"),
    ],
)
def test_frames_that_make_no_video_are_refused(tmp_path, name, given, fps, said):
    with pytest.raises(InputError, match=said):
        video.write_video(tmp_path / name, given, fps)
