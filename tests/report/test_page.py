"""Pages hold everything they show, and show what they were given."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from physsim.errors import InputError
from physsim.report.page import Page, format_cell
from physsim.report.plot import Interval, Panel, Series, interval_svg, plot_svg

VOID = {"meta", "img", "br", "path", "use", "rect", "circle"}


def square(colour):
    return Image.new("RGB", (16, 8), colour)


def test_a_strip_holds_all_its_pictures_and_shows_the_first_one_asked_for():
    page = Page("strip")
    page.strip(
        ["a <b>"], [(f"frame {k} </script>", square((0, 80 * k, 0))) for k in range(3)], "squares", "caption", [(2, "#93c5fd")], first=1
    )
    text = page.html()
    assert text.count("data:image/jpeg") == 4 and text.count("</script>") == 2 and "a &lt;b&gt;" in text
    assert 'max="2" value="1"' in text
    with pytest.raises(InputError, match="0 frames"):
        page.strip([], [], "nothing")
    with pytest.raises(InputError, match="all of one size"):
        page.strip([], [("a", square("red")), ("b", Image.new("RGB", (8, 8)))], "two sizes")


def test_a_forest_plot_shows_open_ends_and_other_estimates():
    rows = [Interval("young <a>", 2e4, 1.8e4, 2.3e4, [2.1e4]), Interval("poisson", 0.3, None, np.inf)]
    text = interval_svg(rows)
    assert "young" in text and "poisson" in text and "<a>" not in text
    with pytest.raises(InputError, match="above 0"):
        interval_svg([Interval("offset", -1.0, -2.0, 0.0)])


class Balance(HTMLParser):
    """Checks that every element is closed in turn, and gathers addresses."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in {"src", "href", "xlink:href"}]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name in {"src", "href", "xlink:href"}]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def panel(**options):
    x = np.linspace(0, 1, 50)
    band = (np.sin(x) - 1, np.sin(x) + 1)
    curves = [Series("measured <a>", x, np.sin(x), "points"), Series("simulated", x, np.cos(x), "dashed", band=band)]
    return Panel("tip & edge", curves, "t [s]", "z [mm]", spans=[(0.1, 0.2, "hand")], marks=[(0.5, "end")], **options)


def full_page(tmp_path):
    page = Page("A <beam>", "lead & more")
    page.heading("Results")
    page.text("One.", "Two <script>alert(1)</script>.")
    page.tiles([("Young's modulus", "270 kPa", "95 %: 260-280 kPa")])
    page.table(["name", "rmse [mm]"], [["a", 1.23456], ["b", None]], caption="errors", strong=0)
    page.facts([("source", "a <paper>"), ("licence", "MIT")])
    page.plots([panel(), panel(log_y=True), panel()], columns=2, caption="curves")
    page.image(Image.new("RGB", (8, 8), "red"), "a red square")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    page.video(film, "the film")
    return page


def test_a_page_is_well_formed_and_refers_to_nothing_outside_itself(tmp_path):
    path = full_page(tmp_path).write(tmp_path / "new" / "page.html")
    text = path.read_text(encoding="utf-8")
    reader = Balance()
    reader.feed(text)
    assert reader.open == []
    assert reader.addresses
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert not re.search(r"url\((?!#)|@import|<link|<script", text)
    assert "data:video/mp4;base64,ZmlsbQ==" in text


def test_texts_are_escaped(tmp_path):
    text = full_page(tmp_path).html()
    assert "A &lt;beam&gt;" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "measured &lt;a&gt;" in text
    assert "<td>a &lt;paper&gt;</td>" in text
    assert "tip &amp; edge" in text


def test_the_same_page_is_written_the_same_each_time(tmp_path):
    assert full_page(tmp_path).html() == full_page(tmp_path).html()


def test_a_strip_stands_in_for_a_video(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "film.png")
    page = Page("strip")
    page.video(tmp_path / "film.png", "the film")
    assert 'img alt="the film"' in page.html()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\u2013"),
        (float("nan"), "\u2013"),
        (1.23456, "1.235"),
        (-0.0123456, "-0.01235"),
        (263824.4, "263,824"),
        (0.0, "0"),
        (1e-9, "1.000e-09"),
        (12345, "12,345"),
        (np.float32(0.5), "0.5000"),
        (True, "yes"),
        ("a", "a"),
    ],
)
def test_cells_are_written_to_four_digits(value, text):
    assert format_cell(value) == text


def test_what_cannot_be_shown_is_refused(tmp_path):
    page = Page("bad")
    with pytest.raises(InputError, match="row 1 has 1 cells"):
        page.table(["a", "b"], [[1, 2], [3]])
    with pytest.raises(InputError, match="existing file"):
        page.image(tmp_path / "none.png", "nothing")
    with pytest.raises(InputError, match=r"ending in \.mp4"):
        page.video(tmp_path / "none.gif", "nothing")
    with pytest.raises(InputError, match=r"series 'a': x, y and band"):
        Series("a", [0, 1], [0, 1, 2])
    with pytest.raises(InputError, match="style 'wavy'"):
        Series("a", [0, 1], [0, 1], "wavy")
    with pytest.raises(InputError, match="0 panels"):
        plot_svg([])
