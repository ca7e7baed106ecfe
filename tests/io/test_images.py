"""Pictures and masks are read as they are, and what is damaged, huge or of another kind is refused by name."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from physsim.errors import InputError
from physsim.io.images import MAX_PIXELS, read_image, read_integers, read_mask


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, kind, rows):
    """A PNG written from its definition: rows of bytes, no filter."""
    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (7, 5, 3), dtype=np.uint8)


def test_eight_bit_colours_come_out_as_shares_of_255(tmp_path, picture):
    path = tmp_path / "a.png"
    path.write_bytes(png(5, 7, 8, 2, [row.tobytes() for row in picture]))
    colour, alpha = read_image(path, (5, 7))
    assert alpha is None
    assert colour.dtype == np.float32
    np.testing.assert_allclose(colour, picture / 255.0, atol=1e-7)


def test_alpha_is_handed_out_beside_straight_colours(tmp_path, rng):
    given = rng.integers(0, 256, (4, 6, 4), dtype=np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(png(6, 4, 8, 6, [row.tobytes() for row in given]))
    colour, alpha = read_image(path)
    np.testing.assert_allclose(colour, given[..., :3] / 255.0, atol=1e-7)
    np.testing.assert_allclose(alpha, given[..., 3] / 255.0, atol=1e-7)


def test_sixteen_bit_grey_keeps_its_depth(tmp_path, rng):
    given = rng.integers(0, 65536, (4, 6), dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(png(6, 4, 16, 0, [row.astype(">u2").tobytes() for row in given]))
    colour, alpha = read_image(path)
    assert alpha is None
    np.testing.assert_allclose(colour, np.repeat(given[..., None], 3, 2) / 65535.0, atol=1e-7)


def test_grey_with_alpha_and_one_bit_and_palette_are_read(tmp_path, rng):
    both = rng.integers(0, 256, (3, 4, 2), dtype=np.uint8)
    Image.fromarray(both, "LA").save(tmp_path / "la.png")
    colour, alpha = read_image(tmp_path / "la.png")
    np.testing.assert_allclose(colour[..., 1], both[..., 0] / 255.0, atol=1e-7)
    np.testing.assert_allclose(alpha, both[..., 1] / 255.0, atol=1e-7)
    bits = rng.integers(0, 2, (9, 11)).astype(bool)
    bits[0, 0] = True
    Image.fromarray(bits).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "bits.png"), bits)
    few = rng.integers(0, 4, (5, 5), dtype=np.uint8)
    table = np.array([[10, 20, 30], [40, 50, 60], [70, 80, 90], [100, 110, 120]], np.uint8)
    indexed = Image.fromarray(few, "P")
    indexed.putpalette(table.ravel().tolist())
    indexed.save(tmp_path / "p.png")
    np.testing.assert_allclose(read_image(tmp_path / "p.png")[0], table[few] / 255.0, atol=1e-7)


def test_a_mask_may_lie_in_the_alpha_channel(tmp_path):
    given = np.full((4, 4, 4), 255, np.uint8)
    given[..., 3] = 0
    given[1:3, 2, 3] = 255
    Image.fromarray(given).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), given[..., 3] / 255)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_picture_that_is_cut_short_is_refused(tmp_path, rng, share):
    content = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(content, "PNG")
    path = tmp_path / "short.png"
    path.write_bytes(content.getvalue()[: int(share * len(content.getvalue()))])
    with pytest.raises(InputError, match=r"short\.png.*(damaged|cut short)"):
        read_image(path)


def test_random_bytes_after_the_header_never_crash(tmp_path, rng):
    content = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(content, "PNG")
    whole = np.frombuffer(content.getvalue(), np.uint8)
    for i in range(60):
        hurt = whole.copy()
        at = rng.integers(8, len(hurt), 6)
        hurt[at] = rng.integers(0, 256, 6)
        path = tmp_path / f"{i}.png"
        path.write_bytes(hurt.tobytes())
        try:
            colour, _ = read_image(path)
        except InputError as error:
            assert path.name in str(error)
        else:
            assert np.isfinite(colour).all()


def test_a_bomb_is_refused_from_its_header(tmp_path):
    side = int(MAX_PIXELS**0.5) + 2
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=r"bomb\.png.*pixels"):
        read_image(path)
    huge = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", huge) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=r"bomb\.png.*pixels"):
        read_image(path)


def test_wrong_sizes_kinds_and_names_are_refused(tmp_path, picture):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    with pytest.raises(InputError, match=r"a\.png: 5 x 7 pixels, but its camera has 7 x 5"):
        read_image(path, (7, 5))
    (tmp_path / "text.png").write_text("not a picture at all")
    with pytest.raises(InputError, match=r"text\.png: not a picture"):
        read_image(tmp_path / "text.png")
    Image.fromarray(picture).save(tmp_path / "a.gif")
    with pytest.raises(InputError, match=r"ending '\.gif'"):
        read_image(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "disguised.png")
    with pytest.raises(InputError, match=r"disguised\.png: not a picture"):
        read_image(tmp_path / "disguised.png")
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match=r"f\.tif: pixels of kind 'F'"):
        read_image(tmp_path / "f.tif")
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path)
    Image.fromarray(picture).save(tmp_path / "two.tif", save_all=True, append_images=[Image.fromarray(picture)])
    with pytest.raises(InputError, match="2 pictures in one file"):
        read_image(tmp_path / "two.tif")


def test_a_picture_that_a_tag_turns_is_refused(tmp_path, picture):
    image = Image.fromarray(picture)
    tags = image.getexif()
    tags[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=tags)
    with pytest.raises(InputError, match=r"turned\.jpg.*EXIF"):
        read_image(tmp_path / "turned.jpg")


def test_masks_without_a_pixel_or_with_colours_are_refused(tmp_path, picture):
    Image.fromarray(np.full((4, 4), 100, np.uint8)).save(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"empty\.png: the mask has no pixel"):
        read_mask(tmp_path / "empty.png")
    Image.fromarray(picture).save(tmp_path / "colours.png")
    with pytest.raises(InputError, match=r"colours\.png: a mask must be grey"):
        read_mask(tmp_path / "colours.png")


@pytest.mark.parametrize("bits", [8, 16])
def test_whole_numbers_come_out_as_they_stand_in_the_file(tmp_path, rng, bits):
    kind = {8: np.uint8, 16: np.uint16}[bits]
    given = rng.integers(0, 2**bits, (4, 6), dtype=kind)
    path = tmp_path / "a.png"
    path.write_bytes(png(6, 4, bits, 0, [row.astype(f">u{bits // 8}").tobytes() for row in given]))
    read = read_integers(path, (6, 4), bits)
    assert read.dtype == kind
    np.testing.assert_array_equal(read, given)
    with pytest.raises(InputError, match=rf"a\.png.*one channel of {24 - bits} bits"):
        read_integers(path, (6, 4), 24 - bits)
    with pytest.raises(InputError, match="its camera has 4 x 6"):
        read_integers(path, (4, 6), bits)


def test_colours_are_no_whole_numbers_of_one_channel(tmp_path, picture):
    for name, image in (("rgb", Image.fromarray(picture)), ("la", Image.fromarray(picture[..., :2], "LA"))):
        image.save(tmp_path / f"{name}.png")
        with pytest.raises(InputError, match="one channel of 8 bits"):
            read_integers(tmp_path / f"{name}.png", None, 8)
