"""One self-contained HTML page from sections: text, key figures, tables, plots, pictures, video. It refers to nothing outside itself."""

import base64
import html
import io
import json
import math
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.report.plot import HeatMap, Interval, Panel, heat_svg, interval_svg, plot_svg

MAX_EMBEDDED_BYTES = 64_000_000
_MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".mp4": "video/mp4"}

_STYLE = """
:root { color-scheme: light; --ink: #1f2937; --muted: #6b7280; --line: #e5e7eb; --accent: #2563eb; }
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: var(--ink); font-size: 16px; line-height: 1.6;
       font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 44px 0 12px; }
p { margin: 0 0 12px; max-width: 74ch; }
.lead { color: var(--muted); font-size: 17px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 20px 0; }
.tile, figure, .sheet { background: #fff; border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 14px 16px; }
.tile b { display: block; font-size: 24px; line-height: 1.3; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--muted); font-size: 13.5px; display: block; line-height: 1.4; }
.sheet { margin: 16px 0; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 15px; }
caption, figcaption { caption-side: bottom; text-align: left; color: var(--muted); font-size: 13.5px; line-height: 1.5; }
caption { padding: 10px 16px; }
th, td { padding: 9px 16px; text-align: right; border-bottom: 1px solid var(--line); font-variant-numeric: tabular-nums; }
th { font-weight: 600; font-size: 13.5px; color: var(--muted); vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
tbody tr:last-child td { border-bottom: none; }
tr.strong td { font-weight: 650; background: #eff6ff; }
.words td { text-align: left; vertical-align: top; }
.words td:first-child { color: var(--muted); white-space: nowrap; width: 1%; }
figure { margin: 16px 0; padding: 16px; }
figure svg, figure img, figure video { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { margin-top: 10px; }
.strip { display: grid; grid-template-columns: auto 1fr auto; gap: 10px 14px; align-items: center; }
.strip .titles, .strip img { grid-column: 1 / -1; }
.strip .titles { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; font-size: 13.5px; font-weight: 600; }
.strip button { width: 68px; padding: 4px 0; font: inherit; font-size: 14px; border: 1px solid #d1d5db; border-radius: 6px;
                background: #fff; color: var(--ink); cursor: pointer; }
.strip .slide input { width: 100%; margin: 0; accent-color: var(--accent); display: block; }
.strip .bar { display: flex; height: 5px; margin: 4px 8px 0; border-radius: 2px; overflow: hidden; }
.strip output { font-size: 13.5px; color: var(--muted); font-variant-numeric: tabular-nums; text-align: right; }
footer { margin-top: 48px; color: var(--muted); font-size: 13px; }
@media print { body { background: #fff; } figure, .sheet, .tile { break-inside: avoid; } }
"""


_STRIP_SCRIPT = """(() => {
  const box = document.getElementById("ID"), data = JSON.parse(box.querySelector("script").textContent);
  const [img, slider, label, button] = ["img", "input", "output", "button"].map((tag) => box.querySelector(tag));
  let timer = null;
  const show = () => { const k = Number(slider.value); img.src = data[k][1]; label.textContent = data[k][0]; };
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "Play"; };
  const next = () => { slider.value = (Number(slider.value) + 1) % data.length; show(); };
  slider.addEventListener("input", () => { stop(); show(); });
  button.addEventListener("click", () => {
    if (timer) { stop(); return; }
    timer = setInterval(next, 120);
    button.textContent = "Pause";
  });
  show();
})();"""


class Page:
    """A page that is filled from top to bottom and then written. Every text is escaped."""

    def __init__(self, title: str, lead: str = "") -> None:
        self._title = title
        self._parts = [f"<h1>{html.escape(title)}</h1>"]
        if lead:
            self._parts.append(f'<p class="lead">{html.escape(lead)}</p>')

    def heading(self, text: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, *paragraphs: str) -> None:
        """Add paragraphs of plain text."""
        self._parts.extend(f"<p>{html.escape(paragraph)}</p>" for paragraph in paragraphs)

    def tiles(self, figures: Sequence[tuple[str, str, str]]) -> None:
        """Add key figures side by side, each (label, value with its unit, note)."""
        cells = [
            f'<div class="tile"><span>{html.escape(label)}</span><b>{html.escape(value)}</b><span>{html.escape(note)}</span></div>'
            for label, value, note in figures
        ]
        self._parts.append(f'<div class="tiles">{"".join(cells)}</div>')

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "", strong: int | None = None) -> None:
        """Add a table.

        Args:
            header: names of the columns, with their units
            rows: cells; numbers are written to four digits, None as a dash
            caption: what the table says
            strong: index of a row to stress

        Raises:
            InputError: a row does not have a cell for each column.
        """
        for index, row in enumerate(rows):
            if len(row) != len(header):
                raise InputError(f"table row {index} has {len(row)} cells; the header names {len(header)} columns")
        head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        body = "".join(
            f"<tr{' class=strong' if index == strong else ''}>{''.join(f'<td>{html.escape(format_cell(cell))}</td>' for cell in row)}</tr>"
            for index, row in enumerate(rows)
        )
        note = f"<caption>{html.escape(caption)}</caption>" if caption else ""
        self._parts.append(f'<div class="sheet"><table>{note}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Add a table of words: (what, text)."""
        cells = (f"<tr><td>{html.escape(what)}</td><td>{html.escape(text)}</td></tr>" for what, text in rows)
        self._parts.append(f'<div class="sheet words"><table><tbody>{"".join(cells)}</tbody></table></div>')

    def plots(self, panels: Sequence[Panel], columns: int = 1, caption: str = "", height: float = 2.9) -> None:
        """Add line plots, `columns` side by side, each row `height` inches high at a page width of 9.6 inches."""
        self._figure(plot_svg(panels, columns, height=height), caption)

    def heat_maps(self, maps: Sequence[HeatMap], unit: str = "", columns: int = 2, caption: str = "", height: float = 2.9) -> None:
        """Add heat maps in the same colours, `columns` side by side, each row `height` inches high at a page width of 9.6 inches."""
        self._figure(heat_svg(maps, unit, columns, height=height), caption)

    def image(self, source: object, alt: str, caption: str = "") -> None:
        """Add a picture: a .png or .jpg file, or a PIL image."""
        if isinstance(source, str | PathLike):
            address = _file_address(Path(source), {".png", ".jpg", ".jpeg"})
        else:
            content = io.BytesIO()
            source.save(content, format="PNG", optimize=True)
            address = _address("image/png", content.getvalue())
        self._figure(f'<img alt="{html.escape(alt)}" src="{address}">', caption)

    def video(self, path: str | PathLike[str], alt: str, caption: str = "") -> None:
        """Add what `write_video` returned: an .mp4 file, played in a loop, or the .png strip that stands in for it."""
        path = Path(path)
        if path.suffix.lower() == ".png":
            self.image(path, alt, caption)
            return
        address = _file_address(path, {".mp4"})
        self._figure(f'<video controls autoplay loop muted playsinline aria-label="{html.escape(alt)}" src="{address}"></video>', caption)

    def strip(
        self,
        titles: Sequence[str],
        frames: Sequence[tuple[str, object]],
        alt: str,
        caption: str = "",
        spans: Sequence[tuple[int, str]] = (),
        first: int = 0,
        quality: int = 82,
    ) -> None:
        """Add pictures that a slider goes through, or a button plays.

        Args:
            titles: over the columns that each picture is made of, from left to right, of one width.
            frames: (label, PIL image) each, all of one size; they are embedded as JPEG.
            alt: what the pictures show.
            caption: under them.
            spans: (number of frames, colour) one after the other, drawn under the slider, such as fitted and held-out frames.
            first: number of the frame that is shown first.
            quality: of JPEG, 1 to 95.

        Raises:
            InputError: no frame, pictures of several sizes, more bytes than go into a page.
        """
        if not frames or len({image.size for _, image in frames}) > 1:
            raise InputError(f"strip: {len(frames)} frames of sizes {sorted({i.size for _, i in frames})}; at least one, all of one size")
        rows = []
        for label, image in frames:
            content = io.BytesIO()
            image.convert("RGB").save(content, format="JPEG", quality=quality, optimize=True)
            rows.append([label, _address("image/jpeg", content.getvalue())])
        size = sum(len(address) for _, address in rows)
        if size > MAX_EMBEDDED_BYTES:
            raise InputError(f"strip: {size} bytes; at most {MAX_EMBEDDED_BYTES} go into a page; give fewer or smaller frames")
        name, last = f"strip{len(self._parts)}", len(rows) - 1
        heads = "".join(f"<span>{html.escape(title)}</span>" for title in titles)
        bar = "".join(f'<i style="flex: {count}; background: {html.escape(colour)}"></i>' for count, colour in spans)
        label, address = rows[first]
        data = json.dumps(rows).replace("</", "<\\/")
        self._figure(
            f'<div class="strip" id="{name}"><div class="titles">{heads}</div><img alt="{html.escape(alt)}" src="{address}">'
            f'<button type="button">Play</button><div class="slide">'
            f'<input type="range" min="0" max="{last}" value="{first}" aria-label="frame"><div class="bar">{bar}</div></div>'
            f"<output>{html.escape(label)}</output>"
            f'<script type="application/json">{data}</script></div><script>{_STRIP_SCRIPT.replace("ID", name)}</script>',
            caption,
        )

    def intervals(self, rows: Sequence[Interval], caption: str = "") -> None:
        """Add a forest plot: estimates with their intervals, relative to the estimate."""
        self._figure(interval_svg(rows), caption)

    def html(self) -> str:
        """The page as one string."""
        from physsim import __version__

        body = "\n".join(self._parts)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{html.escape(self._title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n"
            f"<footer>Made by physsim {__version__}</footer>\n</main>\n</body>\n</html>\n"
        )

    def write(self, path: str | PathLike[str]) -> Path:
        """Write the page, making its folder where needed, and return its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.html(), encoding="utf-8")
        return path

    def _figure(self, content: str, caption: str) -> None:
        note = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        self._parts.append(f"<figure>{content}{note}</figure>")


def format_cell(value: object) -> str:
    """A table's cell as text: numbers to four digits with thousands apart, None and NaN as a dash."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return "\u2013"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return f"{int(value):,}"
    if isinstance(value, float | np.floating):
        size = abs(float(value))
        if size != 0.0 and not 1e-4 <= size < 1e9:
            return f"{value:.3e}"
        digits = 0 if size >= 1000 else 3 - math.floor(math.log10(size)) if size > 0 else 0
        return f"{value:,.{max(digits, 0)}f}"
    return str(value)


def _file_address(path: Path, suffixes: set[str]) -> str:
    if path.suffix.lower() not in suffixes or not path.is_file():
        raise InputError(f"{path}: must be an existing file ending in {' or '.join(sorted(suffixes))}")
    if path.stat().st_size > MAX_EMBEDDED_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes; at most {MAX_EMBEDDED_BYTES} go into a page; make it shorter or smaller")
    return _address(_MEDIA_TYPES[path.suffix.lower()], path.read_bytes())


def _address(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
