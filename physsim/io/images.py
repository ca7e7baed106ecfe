"""Pictures and masks of strangers, through Pillow with bounds: plain arrays from 0 to 1 come out, or an InputError that names the file."""

import struct
import warnings
import zlib
from os import PathLike

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from physsim.errors import InputError
from physsim.io.files import checked_path

SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"}
FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
MAX_BYTES = 256_000_000  # of a file
MAX_PIXELS = 64_000_000  # of a picture; below Pillow's own limit, so that ours speaks first
_EIGHT_BIT = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error, OverflowError)


def read_image(path: str | PathLike[str], size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture of 8 or 16 bits, in grey, palette or colour, with or without an alpha channel.

    Args:
        path: a PNG, JPEG, TIFF, WebP or BMP file of one picture.
        size: (width, height) that it must have [pixel]; None: any.

    Returns:
        Red, green and blue from 0 to 1, shape [height, width, 3], float32, and alpha, shape [height, width], or None where it has none.
        Colours are straight: not multiplied by alpha.

    Raises:
        InputError: no such file, no picture, damaged, cut short, too large, of another size, of a kind that is not read, or turned by its
            EXIF tag.
    """
    values = _decoded(path, size)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2), None
    if values.shape[2] == 2:
        return np.repeat(values[..., :1], 3, axis=2), values[..., 1].copy()
    return values[..., :3].copy(), values[..., 3].copy() if values.shape[2] == 4 else None


def read_mask(path: str | PathLike[str], size: tuple[int, int] | None = None) -> np.ndarray:
    """A mask: 1 where the body is, 0 where it is not, between them where it covers a pixel in part.

    Args:
        path, size: as for `read_image`.

    Returns:
        Shape [height, width], float32: alpha where the picture has such a channel that is not the same everywhere, else its grey.

    Raises:
        InputError: as for `read_image`; a mask without a pixel that is more than half covered; colours.
    """
    colour, alpha = read_image(path, size)
    if alpha is not None and alpha.min() < alpha.max():
        mask = alpha
    elif np.abs(colour - colour[..., :1]).max() > 0.02:
        raise InputError(f"{path}: a mask must be grey, white where the body is; this one has colours")
    else:
        mask = colour[..., 0].copy()
    if not (mask > 0.5).any():
        raise InputError(f"{path}: the mask has no pixel that is brighter than half; paint the body white, or leave the picture out")
    return mask


def read_integers(path: str | PathLike[str], size: tuple[int, int] | None = None, bits: int = 16) -> np.ndarray:
    """A picture of whole numbers in one channel, such as depth, as it stands in the file.

    Args:
        path, size: as for `read_image`.
        bits: 8 or 16 of a pixel; one of another depth is refused.

    Returns:
        Shape [height, width], uint8 or uint16.

    Raises:
        InputError: as for `read_image`; several channels, another number of bits.
    """

    def values(path, image):
        if not image.mode.startswith({8: "L", 16: "I;16"}[bits]) or image.mode in ("LA", "La"):
            raise InputError(f"{path}: pixels of kind {image.mode!r}; one channel of {bits} bits is needed; save it so")
        return np.asarray(image).astype(np.uint8 if bits == 8 else np.uint16)

    return _decoded(path, size, values)


def _decoded(path, size, values=None) -> np.ndarray:
    """What `values(path, image)` takes from a checked picture: by default from 0 to 1, shape [h, w] or [h, w, 2, 3 or 4], float32."""
    path = checked_path(path, SUFFIXES, MAX_BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused below
            with Image.open(path, formats=FORMATS) as image:
                _check(path, image, size)
                image.load()
                return (values or _values)(path, image)
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{path}: not a picture that is read here ({', '.join(FORMATS)}), whatever its name says") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: more than {MAX_PIXELS} pixels; make it smaller") from None
    except MemoryError:
        raise InputError(f"{path}: decoding it takes more memory than there is; make it smaller") from None
    except _DAMAGED as error:
        raise InputError(f"{path}: damaged or cut short ({' '.join(str(error).split())[:120]})") from None


def _check(path, image, size) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: {width} x {height} pixels; at most {MAX_PIXELS} are read; make it smaller")
    if size is not None and (width, height) != tuple(size):
        raise InputError(f"{path}: {width} x {height} pixels, but its camera has {size[0]} x {size[1]}; scale one of them")
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{path}: {image.n_frames} pictures in one file; write each to its own")
    if image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1):
        raise InputError(
            f"{path}: an EXIF tag says that it is to be shown turned, and programs differ in whether they do; turn the pixels, drop the tag"
        )


def _values(path, image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float32) / np.float32(65535.0)
    if image.mode not in _EIGHT_BIT:
        raise InputError(f"{path}: pixels of kind {image.mode!r} are not read; save it with 8 or 16 bits a channel")
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255.0)
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if image.mode in ("LA", "La"):
        return np.asarray(image.convert("RGBA"), dtype=np.float32)[..., [0, 3]] / np.float32(255.0)
    return np.asarray(image.convert("RGBA" if transparent else "RGB"), dtype=np.float32) / np.float32(255.0)
