"""What reading a stranger's meshes may cost is bounded, and the process that asked lives on."""

import sys
import time

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io.confined import read_surfaces

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.obj"
    path.write_bytes(b"v 0 0 0\nv 1 0 0\nv 0 1 0\n" * 1_000_000 + b"f 1 2 3\n")
    return path


def test_surfaces_come_back_in_the_order_of_the_files_each_read_once(tmp_path):
    (tmp_path / "a.obj").write_text(TRIANGLE)
    (tmp_path / "b.obj").write_text(TRIANGLE.replace("1", "2", 1))
    a, b, again = read_surfaces([tmp_path / name for name in ("a.obj", "b.obj", "a.obj")])
    assert again is a
    np.testing.assert_allclose([a.points[:, 0].max(), b.points[:, 0].max()], [1, 2])
    assert read_surfaces([]) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the system offers no bounds")
@pytest.mark.parametrize(("bound", "said"), [({"memory_bytes": 400 << 20}, "more memory than there is"), ({"seconds": 1.0}, "at most 1 s")])
def test_a_file_that_needs_too_much_is_refused_in_time(large, bound, said):
    start = time.perf_counter()
    with pytest.raises(InputError, match=said) as caught:
        read_surfaces([large], **bound)
    assert "large.obj" in str(caught.value)
    assert time.perf_counter() - start < 30.0


def test_the_first_bad_file_is_named(tmp_path):
    (tmp_path / "a.obj").write_text(TRIANGLE)
    (tmp_path / "b.obj").write_text(TRIANGLE.replace("f 1", "f 9"))
    with pytest.raises(InputError, match=r"b\.obj: triangle 0 uses points"):
        read_surfaces([tmp_path / "a.obj", tmp_path / "b.obj"])
