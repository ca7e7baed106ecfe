"""The page that describes the format tells what is true: its program writes a capture, and its tables name what is read."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from physsim.capture.capture import Capture
from physsim.capture.check import check_capture
from physsim.capture.entries import KEYS

PAGE = Path(__file__).parents[2] / "docs" / "capture.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_program_on_the_page_writes_a_sound_capture_without_physsim(page, tmp_path):
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    assert 30 <= len([line for line in program.splitlines() if line.strip()]) <= 40
    assert "physsim" not in re.sub(r'"physsim capture"', "", program)
    blocked = "import sys; sys.modules['physsim'] = None\n"
    subprocess.run([sys.executable, "-c", blocked + program], cwd=tmp_path, check=True, timeout=120)
    assert check_capture(tmp_path / "ball") == []
    capture = Capture.load(tmp_path / "ball")
    assert capture.sensors == ("depth", "mask", "colour")
    np.testing.assert_array_equal(capture.test, [8, 9, 10, 11])
    for i in (0, 11):
        cloud = capture.cloud(i)
        centre = [0, 0, 0.30 - 0.25 * capture.times[i]]
        np.testing.assert_allclose(np.linalg.norm(cloud - centre, axis=1), 0.05, atol=0.001)
        np.testing.assert_allclose(capture.handles["hand"].at(capture.times[i])[0], [0, 0, centre[2] + 0.05])


def test_the_page_names_every_key_that_is_read(page):
    told = set(re.findall(r"[a-z_]+", page))
    for kind, keys in KEYS.items():
        assert set(keys) - {"closed", "arm", "grips", "framed"} <= told, kind  # those four are how a Curve is written back


def test_the_page_is_one_page(page):
    assert len(page.splitlines()) <= 110
