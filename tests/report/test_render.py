"""Pictures show what is in front, in the right place and colour."""

import numpy as np
import pytest

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.report.render import Dots, Renderer, Solid, box_surface

SIZE = (320, 180)
LEVEL = Camera.look_at((0, -10, 0), (0, 0, 0), width=SIZE[0], height=SIZE[1], angle=30)


def pixel(image, x=0.5, y=0.5):
    return np.array(image.getpixel((int(x * image.width), int(y * image.height))), dtype=float)


def box(lower, upper, **options):
    return Solid(*box_surface(lower, upper), **options)


def test_the_surface_of_a_box_is_closed_and_outward():
    points, triangles = box_surface((1, 2, 3), (2, 4, 6), divisions=3)
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(6.0)


def test_what_is_in_front_hides_what_is_behind():
    red, blue = box((-1, -3, -1), (1, -2, 1), colour="#ff0000"), box((-1, 2, -1), (1, 3, 1), colour="#0000ff")
    for solids in ([red, blue], [blue, red]):
        colour = pixel(Renderer(LEVEL).frame(solids))
        assert colour[0] > 3 * colour[2]


def test_a_backdrop_stays_behind():
    near = box((-1, -3, -1), (1, -2, 1), colour="#ff0000", backdrop=True)
    colour = pixel(Renderer(LEVEL).frame([near, box((-1, 2, -1), (1, 3, 1), colour="#0000ff")]))
    assert colour[2] > 3 * colour[0]


def test_scalars_take_the_colours_of_the_map():
    points, triangles = box_surface((-1, -1, -1), (1, 1, 1))
    renderer = Renderer(LEVEL, colours="coolwarm", scalar_label="strain")
    low, high = (pixel(renderer.frame([Solid(points, triangles, scalar=np.full(len(points), value))])) for value in (0.0, 1.0))
    assert low[2] > low[0]
    assert high[0] > high[2]
    by_triangle = renderer.frame([Solid(points, triangles, scalar=np.ones(len(triangles)))])
    np.testing.assert_array_equal(pixel(by_triangle), high)


def test_an_open_surface_shows_from_behind_only_when_two_sided():
    points, triangles = np.array([[-1, 0, -1], [1, 0, -1], [0, 0, 1.0]]), np.array([[0, 2, 1]])
    empty = pixel(Renderer(LEVEL).frame([]))
    np.testing.assert_array_equal(pixel(Renderer(LEVEL).frame([Solid(points, triangles)])), empty)
    shown = pixel(Renderer(LEVEL).frame([Solid(points, triangles, two_sided=True)]))
    assert np.abs(shown - empty).max() > 30


def test_dots_legend_and_caption_are_drawn():
    renderer = Renderer(LEVEL)
    image = renderer.frame([], [Dots([[1.0, 0, 0], [np.nan, 0, 0]], colour="#ff0000", label="measured")], caption="t = 0 s")
    x, _ = LEVEL.project(np.array([[1.0, 0, 0]]))[0][0]
    colour = pixel(image, x / SIZE[0])
    assert colour[0] > 200
    assert colour[1] < 60
    changed = np.abs(np.asarray(image, dtype=int) - np.asarray(renderer.frame([]), dtype=int)).sum(axis=2) > 60
    assert changed[:40, :120].any()
    assert changed[-40:, :120].any()


def test_a_solid_throws_a_shadow_on_the_ground():
    camera = Camera.around(box_surface((-1, -1, 0), (1, 1, 2))[0], margin=2.5, width=SIZE[0], height=SIZE[1])
    renderer = Renderer(camera, ground=-0.5)
    with_solid, without = (
        np.asarray(renderer.frame(solids), dtype=int) for solids in ([box((-1, -1, 0), (1, 1, 2), colour="#ffffff")], [])
    )
    assert (without - with_solid).sum(axis=2).max() > 100


@pytest.mark.parametrize(
    ("points", "triangles", "said"),
    [
        (np.full((3, 3), np.nan), [[0, 1, 2]], "NaN or infinite"),
        (np.zeros((3, 3)), [[0, 1, 3]], r"outside 0\.\.2"),
        (np.zeros((3, 2)), [[0, 1, 2]], r"\[n, 3\]"),
    ],
)
def test_what_cannot_be_drawn_is_refused(points, triangles, said):
    with pytest.raises(InputError, match=said):
        Solid(points, np.array(triangles))


def test_a_frame_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="even"):
        Renderer(LEVEL.resized(321, 180))
    with pytest.raises(InputError, match="scalar_range"):
        Renderer(LEVEL, scalar_range=(1, 1))
