"""What is written over a rendered frame: caption, legend, colour bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

INK, MUTED = (31, 41, 55), (95, 105, 120)


@dataclass(frozen=True)
class Legend:
    """Entries (label, colour, hollow) of markers, and a colour bar (table [256, 3] in 0..255, (low, high), label) or None."""

    entries: Sequence[tuple[str, str, bool]]
    bar: tuple[np.ndarray, tuple[float, float], str] | None = None


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue, 0..255, of a colour such as ``#2563eb`` or ``white``."""
    return ImageColor.getrgb(colour)[:3]


@cache
def typeface(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The sans-serif typeface that matplotlib ships, `size` pixels high."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def draw_dot(pen: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, colour: str, hollow: bool) -> None:
    """A marker with a light rim, so that it shows on any ground; a hollow one is a ring."""
    x, y = centre
    rim = max(1.0, 0.28 * radius)
    outer = (x - radius - rim, y - radius - rim, x + radius + rim, y + radius + rim)
    inner = (x - radius, y - radius, x + radius, y + radius)
    if hollow:
        pen.ellipse(outer, outline=(255, 255, 255), width=round(2.6 * rim))
        pen.ellipse(inner, outline=rgb(colour), width=max(2, round(1.5 * rim)))
    else:
        pen.ellipse(outer, fill=(255, 255, 255))
        pen.ellipse(inner, fill=rgb(colour))


def draw_overlay(image: Image.Image, legend: Legend, caption: str = "", note: str = "") -> None:
    """Write caption and note at the top left, the legend at the bottom left, the colour bar at the bottom right, in place."""
    unit = image.height / 540.0
    margin = round(22 * unit)
    pen = ImageDraw.Draw(image)
    halo = {"stroke_width": max(1, round(2 * unit)), "stroke_fill": "white"}  # readable on dark things too
    pen.text((margin, margin - round(4 * unit)), caption, fill=INK, font=typeface(round(19 * unit), bold=True), **halo)
    if note:
        spacing = round(5 * unit)
        pen.multiline_text((margin, margin + round(24 * unit)), note, fill=MUTED, font=typeface(round(14 * unit)), spacing=spacing, **halo)
    _draw_entries(image, legend.entries, margin, unit)
    if legend.bar is not None:
        _draw_bar(image, pen, legend.bar, margin, unit)


def _draw_entries(image: Image.Image, entries: Sequence[tuple[str, str, bool]], margin: int, unit: float) -> None:
    """Marker legend; its dots are drawn four times as large and reduced, for smooth edges."""
    font, side = typeface(round(14 * unit)), round(18 * unit)
    pen = ImageDraw.Draw(image)
    for row, (label, colour, hollow) in enumerate(reversed(entries)):
        middle = image.height - margin - round((0.35 + 1.6 * row) * 14 * unit)
        box = (margin, middle - side // 2, margin + side, middle - side // 2 + side)
        dot = image.crop(box).resize((4 * side, 4 * side))
        draw_dot(ImageDraw.Draw(dot), (2 * side, 2 * side), 20 * unit, colour, hollow)
        image.paste(dot.reduce(4), box[:2])
        pen.text((margin + side + round(8 * unit), middle), label, fill=INK, font=font, anchor="lm")


def _draw_bar(
    image: Image.Image, pen: ImageDraw.ImageDraw, bar: tuple[np.ndarray, tuple[float, float], str], margin: int, unit: float
) -> None:
    table, (low, high), label = bar
    font, width, height = typeface(round(13 * unit)), round(190 * unit), round(9 * unit)
    left, top = image.width - margin - width, image.height - margin - height - round(18 * unit)
    columns = table[np.linspace(0, len(table) - 1, width).astype(int)].astype(np.uint8)
    image.paste(Image.fromarray(np.broadcast_to(columns, (height, width, 3)).copy()), (left, top))
    pen.text((left, top - round(6 * unit)), label, fill=INK, font=font, anchor="ls")
    pen.text((left, top + height + round(5 * unit)), f"{low:g}", fill=MUTED, font=font, anchor="lt")
    pen.text((left + width, top + height + round(5 * unit)), f"{high:g}", fill=MUTED, font=font, anchor="rt")
