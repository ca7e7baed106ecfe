"""Tables come in as named columns of finite numbers or not at all."""

import numpy as np
import pytest

from physsim import assets
from physsim.errors import InputError
from physsim.io.table import read_table


def write(path, text):
    path.write_text(text)
    return path


def test_the_shipped_recordings_read_whole():
    folder = assets.folder("silicone_beam")
    for name in ("beam_load101_V2_a.csv", "beam_load101_V2_b.csv"):
        columns = read_table(folder / name, required=["tip1_x_m", "base3_z_m"], increasing="t_s")
        assert len(columns) == 19
        assert all(column.shape == (600,) and column.dtype == np.float64 for column in columns.values())
        np.testing.assert_allclose(np.diff(columns["t_s"]), 0.01, atol=1e-9)


def test_columns_keep_their_names_order_and_values(tmp_path):
    columns = read_table(write(tmp_path / "a.csv", "\ufefft , x\r\n0,1e-3\r\n1,-2\r\n\r\n"))
    assert list(columns) == ["t", "x"]
    assert columns["x"].tolist() == [1e-3, -2.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n", "every column needs a name"),
        ("t,x\n", "0 rows"),
        ("t,,x\n0,1,2\n", "every column needs a name"),
        ("t,t\n0,1\n", "'t' stands there twice"),
        ("0,1\n1,2\n", "add a header line"),
        ("t,x\n0,1\n1\n", "line 3: 1 cells"),
        ("t,x\n0,1\n1,2,3\n", "line 3: 3 cells"),
        ("t,x\n0,1\n1,abc\n", "line 3, column 'x': 'abc' is not a number"),
        ("t,x\n0,1\n1,\n", "line 3, column 'x': '' is not a number"),
        ("t,x\n0,1\n1,nan\n", "line 3, column 'x': nan"),
        ("t,x\n0,1\n1,inf\n", "line 3, column 'x': inf"),
        ("t,x\n0,1\n1,1e999\n", "line 3, column 'x': inf"),
        ("t,x\n0,1\n0,2\n", "line 3, column 't': 0 follows 0"),
        ("t,y\n0,1\n1,2\n", "column 'x' is missing; the file has t, y"),
        ('t,x\n0,"1\n', "not a CSV file"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        read_table(write(tmp_path / "a.csv", text), required=["x"] if "y" in text else [], increasing="t" if "t" in text else None)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"t,x\n0,\xff\xfe\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path)
    with pytest.raises(InputError, match=r"convert it to one of \.csv"):
        read_table(write(tmp_path / "a.txt", "t\n0\n"))
    with pytest.raises(InputError, match="at most 4 are read"):
        read_table(write(tmp_path / "b.csv", "t,x\n0,1\n"), max_bytes=4)


def test_columns_that_may_have_gaps_hold_nan_there_and_the_others_may_not(tmp_path):
    path = tmp_path / "gaps.csv"
    path.write_text("t,pull,x\n0,NaN,1\n1,,2\n2,inf,3\n3,4.5,5\n")
    table = read_table(path, required=["t"], gaps=["pull", "not there"])
    np.testing.assert_array_equal(table["pull"], [np.nan, np.nan, np.nan, 4.5])
    np.testing.assert_array_equal(table["x"], [1, 2, 3, 5])
    path.write_text("t,pull,x\n0,NaN,1\n1,2,NaN\n")
    with pytest.raises(InputError, match=r"line 3, column 'x'"):
        read_table(path, gaps=["pull"])
    path.write_text("t,pull,x\n0,none,1\n")
    with pytest.raises(InputError, match="'none' is not a number"):
        read_table(path, gaps=["pull"])
