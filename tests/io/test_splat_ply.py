"""Splats in PLY come back as they went, and nothing else comes in."""

import struct

import numpy as np
import pytest
import torch

from physsim.appearance.splats import Splats
from physsim.errors import InputError
from physsim.io.ply import MAX_HEADER_BYTES, read_vertices
from physsim.io.splat_ply import read_splats

NAMES = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
NAMES += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
ROW = dict(zip(NAMES, [1.0, 2.0, 3.0, 0, 0, 0, 0.1, 0.2, 0.3, 0.0, -1.0, -2.0, -3.0, 1.0, 0.0, 0.0, 0.5], strict=True))


def by_hand(path, rows, kind="float", order="<", names=None, count=None, tail=b"", head=()):
    """A file from the format's definition: a header of lines, then the numbers of each point in turn."""
    names = names or list(rows[0])
    word = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    lines = ["ply", f"format {word} 1.0", *head, f"element vertex {len(rows) if count is None else count}"]
    lines += [f"property {kind} {name}" for name in names] + ["end_header"]
    if order:
        body = b"".join(struct.pack(f"{order}{len(names)}{'d' if kind == 'double' else 'f'}", *(row[n] for n in names)) for row in rows)
    else:
        body = "".join(" ".join(str(row[n]) for n in names) + "\n" for row in rows).encode()
    path.write_bytes("\n".join(lines).encode() + b"\n" + body + tail)
    return path


def random_splats(rng, degree=3, latents=0, labels=False, n=50, dtype=torch.float32):
    values = [rng.normal(size=(n, 3)), np.exp(rng.uniform(-9, 1, (n, 3))), rng.normal(size=(n, 4)), rng.uniform(1e-3, 0.999, n)]
    values += [rng.normal(size=(n, (degree + 1) ** 2, 3)), rng.normal(size=(n, latents))]
    splats = Splats(*(torch.as_tensor(v, dtype=dtype) for v in values))
    return splats.replace(labels=torch.as_tensor(rng.integers(0, 5, n), dtype=torch.int32)) if labels else splats


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize(("latents", "labels"), [(0, False), (5, True)])
def test_splats_come_back_to_a_millionth(degree, latents, labels, binary, tmp_path, rng):
    splats = random_splats(rng, degree, latents, labels)
    splats.save(tmp_path / "a.ply", binary=binary)
    back = Splats.load(tmp_path / "a.ply")
    for name in ("means", "rotations", "harmonics", "latents", "labels"):
        np.testing.assert_array_equal(getattr(back, name), getattr(splats, name))
    np.testing.assert_allclose(back.opacities, splats.opacities, atol=1e-6)
    np.testing.assert_allclose(back.scales, splats.scales, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "order"), [("float", "<"), ("float", ">"), ("double", "<"), ("double", ">"), ("float", ""), ("double", "")]
)
def test_a_file_written_by_hand_is_read_as_the_format_says(kind, order, tmp_path):
    rest = {f"f_rest_{i}": float(i) for i in range(9)}
    found = read_splats(by_hand(tmp_path / "a.ply", [ROW | rest, ROW | rest | {"x": 7.0}], kind, order, head=["comment of mine"]))
    np.testing.assert_allclose(found["means"], [[1, 2, 3], [7, 2, 3]])
    np.testing.assert_allclose(found["scales"], np.exp([[-1, -2, -3]] * 2), rtol=1e-6)
    np.testing.assert_allclose(found["rotations"], [[1, 0, 0, 0.5]] * 2)
    np.testing.assert_allclose(found["opacities"], 0.5)
    np.testing.assert_allclose(found["harmonics"][0, 0], [0.1, 0.2, 0.3])
    np.testing.assert_allclose(found["harmonics"][0, 1:].T, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])  # channel by channel


def test_what_is_written_is_laid_out_as_3dgs_does(tmp_path, rng):
    random_splats(rng, degree=1, n=3).save(tmp_path / "a.ply")
    content = (tmp_path / "a.ply").read_bytes()
    names = NAMES[:9] + [f"f_rest_{i}" for i in range(9)] + NAMES[9:]
    header = "\n".join(
        ["ply", "format binary_little_endian 1.0", "element vertex 3", *(f"property float {n}" for n in names), "end_header\n"]
    )
    assert content.startswith(header.encode())
    assert len(content) == len(header) + 3 * 4 * len(names)


def test_opacities_of_nothing_and_everything_come_back(tmp_path, rng):
    splats = random_splats(rng, n=2).replace(opacities=torch.tensor([0.0, 1.0]))
    splats.save(tmp_path / "a.ply")
    np.testing.assert_allclose(Splats.load(tmp_path / "a.ply").opacities, [0.0, 1.0], atol=1e-6)


def test_no_splats_are_not_written_for_no_reader_takes_them(tmp_path, rng):
    none = random_splats(rng).select(torch.zeros(0, dtype=torch.int64))
    with pytest.raises(InputError, match="there is no splat to write"):
        none.save(tmp_path / "none.ply")
    assert not (tmp_path / "none.ply").exists()


def test_writing_twice_gives_the_same_bytes_and_leaves_nothing_beside(tmp_path, rng):
    splats = random_splats(rng, latents=2, labels=True)
    splats.save(tmp_path / "a.ply")
    first = (tmp_path / "a.ply").read_bytes()
    splats.save(tmp_path / "a.ply")
    assert (tmp_path / "a.ply").read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["a.ply"]
    with pytest.raises(InputError, match="cannot be written"):
        splats.save(tmp_path / "nowhere" / "a.ply")


BAD_ROWS = {
    "NaN": ({"y": np.nan}, "y of splat 1 is nan"),
    "infinite": ({"scale_2": np.inf}, "scale_2 of splat 1 is inf"),
    "a quaternion of zero": ({"rot_0": 0.0, "rot_3": 0.0}, "its quaternion is 0"),
    "a scale beyond numbers": ({"scale_0": 1e4}, "its scale is not positive and finite"),
    "a scale of nothing": ({"scale_0": -1e4}, "its scale is not positive and finite"),
}


@pytest.mark.parametrize("order", ["<", ""])
@pytest.mark.parametrize("name", BAD_ROWS)
def test_values_that_no_splat_can_have_are_refused(name, order, tmp_path):
    change, said = BAD_ROWS[name]
    with pytest.raises(InputError, match=said):
        read_splats(by_hand(tmp_path / "a.ply", [ROW, ROW | change, ROW], order=order))


def test_missing_and_surplus_properties_are_refused(tmp_path):
    for lost in ("z", "opacity", "scale_2", "rot_3", "f_dc_1"):
        with pytest.raises(InputError, match=f"{lost} missing"):
            read_splats(by_hand(tmp_path / "a.ply", [{k: v for k, v in ROW.items() if k != lost}]))
    with pytest.raises(InputError, match="10 properties f_rest"):
        read_splats(by_hand(tmp_path / "a.ply", [ROW | {f"f_rest_{i}": 0.0 for i in range(10)}]))
    with pytest.raises(InputError, match="f_latent_0 is missing"):
        read_splats(by_hand(tmp_path / "a.ply", [ROW | {"f_latent_1": 0.0}]))
    with pytest.raises(InputError, match="no whole number"):
        read_splats(by_hand(tmp_path / "a.ply", [ROW | {"label": -3.0}]))


@pytest.mark.parametrize("order", ["<", ">", ""])
@pytest.mark.parametrize("count", [0, 1, 9, 11, 1_000_000, 10**15, -1])
def test_counts_that_do_not_fit_are_refused(count, order, tmp_path):
    with pytest.raises(InputError, match=r"a\.ply"):
        read_splats(by_hand(tmp_path / "a.ply", [ROW] * 10, order=order, count=count))


@pytest.mark.parametrize("order", ["<", ""])
def test_a_cut_off_file_is_refused(order, tmp_path):
    whole = by_hand(tmp_path / "a.ply", [ROW] * 10, order=order).read_bytes()
    for size in range(1, len(whole) - 8, 7):
        (tmp_path / "cut.ply").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.ply"):
            read_splats(tmp_path / "cut.ply")


HEADERS = {
    "another kind of file": (b"solid cube\n", "does not begin with `ply`"),
    "a comment without end": (b"ply\nformat ascii 1.0\n" + b"comment " + b"x" * MAX_HEADER_BYTES, "no end_header"),
    "comments without end": (b"ply\nformat ascii 1.0\n" + b"comment x\n" * MAX_HEADER_BYTES, "no end_header"),
    "no format": (b"ply\nelement vertex 1\nproperty float x\nend_header\n1\n", "names no format"),
    "another format": (b"ply\nformat pdf 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "line 2"),
    "a count that is none": (b"ply\nformat ascii 1.0\nelement vertex many\nproperty float x\nend_header\n1\n", "line 3"),
    "a type that is none": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty quaternion x\nend_header\n1\n", "line 4"),
    "a property of nothing": (b"ply\nformat ascii 1.0\nproperty float x\nend_header\n1\n", "line 3"),
    "a property twice": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float x\nend_header\n1 1\n", "twice"),
    "no vertices": (b"ply\nformat ascii 1.0\nelement face 1\nproperty float x\nend_header\n1\n", "declares no vertices"),
    "lists": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty list uchar int x\nend_header\n1 1\n", "list properties"),
    "words in place of numbers": (b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nend_header\n1\ntwo\n", "is none"),
    "numbers that their type lacks": (
        b"ply\nformat ascii 1.0\nelement vertex 2\nproperty uchar x\nend_header\n1\n300\n",
        "its type does not",
    ),
    "garbage": (bytes(range(256)) * 20, "does not begin"),
    "an end in the middle": (b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header and more\n1\n", "line of its own"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_none_are_refused(name, tmp_path):
    content, said = HEADERS[name]
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_vertices(tmp_path / "a.ply")


def test_random_damage_is_refused_or_read(tmp_path, rng):
    """Bytes changed at random: an InputError, or arrays of the right shape."""
    whole = by_hand(tmp_path / "a.ply", [ROW] * 4).read_bytes()
    for _ in range(300):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            content[at] = rng.integers(256)
        (tmp_path / "b.ply").write_bytes(content)
        try:
            found = read_splats(tmp_path / "b.ply")
        except InputError:
            continue
        assert found["means"].shape[1] == 3
        assert all(np.isfinite(v).all() for v in found.values())
