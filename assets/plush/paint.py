"""How the plush was painted: colours as a function of place, a texture of them, and the asset with its splats.

Each triangle of the surface has a square cell of the texture of its own, with a margin, so that no two triangles share a pixel and no
surface has to be unrolled.
"""

from pathlib import Path

import numpy as np

from physsim.assets.plush import recipe

CELL = 10  # pixels of the texture's cell along each side, two of them margin
EDGE = 0.0004  # over which one colour turns into the next [m]

FUR, LIGHT, DARK = (0.58, 0.37, 0.20), (0.88, 0.74, 0.55), (0.09, 0.06, 0.05)
BLUE, WHITE, PINK = (0.13, 0.33, 0.62), (0.93, 0.91, 0.86), (0.84, 0.55, 0.50)
STRIPE = 0.0045  # width of the jumper's stripes [m]


def paint(points):
    """Colours of places on the plush.

    Args:
        points: [m], shape [n, 3].

    Returns:
        Red, green, blue from 0 to 1, shape [n, 3].
    """
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    folded = np.stack([x, y, z], axis=1)
    mottle = np.sin(900 * points[:, 0] + 5 * np.sin(400 * z)) * np.sin(800 * y) * np.sin(850 * z)
    colour = np.array(FUR) * (1.0 + 0.12 * mottle[:, None])
    # the jumper: body and arms between hips and neck, its stripes level
    jumper = (
        _within(z, 0.017, 0.055)
        * _below(_segment(folded, (0.0300, -0.0185, 0.0385), 0.0105))
        * _below(z - 0.0015 * np.sin(300 * x) - 0.053)
    )
    stripes = 0.5 + 0.5 * np.clip(np.sin(np.pi * z / STRIPE) * STRIPE / np.pi / EDGE, -1.0, 1.0)
    colour = _over(colour, jumper, stripes[:, None] * np.array(BLUE) + (1.0 - stripes[:, None]) * np.array(WHITE))
    for centre, radius, above in (
        ((0.0, -0.0255, 0.0672), 0.0098, LIGHT),  # muzzle
        ((0.0225, -0.0400, 0.0085), 0.0078, LIGHT),  # soles
        ((0.0188, -0.0035, 0.0915), 0.0052, PINK),  # ears, inside
        ((0.0300, -0.0240, 0.0360), 0.0065, LIGHT),  # paws
        ((0.0000, -0.0270, 0.0712), 0.0030, DARK),  # nose
        ((0.0085, -0.0185, 0.0790), 0.0028, DARK),  # eyes
        ((0.0079, -0.0212, 0.0799), 0.0008, WHITE),  # and what shines in them
    ):
        colour = _over(colour, _below(_distance(folded, centre) - radius), above)
    mouth = _below(np.abs(z - 0.0652 - 6.0 * x * x / 0.01) - 0.0006) * _below(x - 0.0045) * _below(y + 0.022)
    return np.clip(_over(colour, mouth, DARK), 0.0, 1.0)


def textured_surface():
    """The surface with a texture.

    Returns:
        (points [m], shape [n, 3]; triangles, shape [t, 3]; places of their corners in the texture, shape [t, 3, 2]; texture of whole
        numbers from 0 to 255, shape [size, size, 3]).
    """
    points, triangles = recipe.surface()
    side = int(np.ceil(np.sqrt(len(triangles))))
    first = CELL * np.stack(np.divmod(np.arange(len(triangles)), side), axis=1)  # row and column of each cell's first pixel
    last = CELL - 3  # from corner to corner of a triangle [pixels]
    row, column = np.meshgrid(np.arange(CELL), np.arange(CELL), indexing="ij")
    second, third = ((a.ravel() - 1) / last for a in (column, row))
    weights = np.stack([1.0 - second - third, second, third], axis=1)
    inside = np.clip(weights, 0.0, 1.0)  # beyond the triangle: the colour of its rim
    places = np.einsum("pk,tkd->tpd", inside / inside.sum(axis=1, keepdims=True), points[triangles])
    colours = np.rint(255 * paint(places.reshape(-1, 3))).astype(np.uint8).reshape(len(triangles), CELL, CELL, 3)
    texture = np.zeros((side * CELL, side * CELL, 3), dtype=np.uint8)
    at = first[:, None, None, :] + np.stack([row, column], axis=-1)
    texture[at[..., 0], at[..., 1]] = colours
    corners = first[:, None, :] + 1.5 + last * np.array([[0, 0], [0, 1], [1, 0]])
    return points, triangles, np.stack([corners[..., 1], side * CELL - corners[..., 0]], axis=-1) / (side * CELL), texture


def write_surface(folder):
    """Write painted.obj, painted.mtl and painted.png into a folder."""
    from PIL import Image

    folder = Path(folder)
    points, triangles, places, texture = textured_surface()
    Image.fromarray(texture).save(folder / "painted.png", optimize=True)
    (folder / "painted.mtl").write_text("newmtl paint\nKd 1 1 1\nmap_Kd painted.png\n")
    lines = ["mtllib painted.mtl", *("v {:.6f} {:.6f} {:.6f}".format(*p) for p in points)]
    lines += ["vt {:.5f} {:.5f}".format(*p) for p in places.reshape(-1, 2)]
    numbers = 3 * np.arange(len(triangles))[:, None] + [1, 2, 3]
    lines += [
        "usemtl paint",
        *("f {}/{} {}/{} {}/{}".format(*np.stack([t + 1, n], 1).ravel()) for t, n in zip(triangles, numbers, strict=True)),
    ]
    (folder / "painted.obj").write_text("\n".join(lines) + "\n")


def write_asset(folder, count=4000):
    """Write the asset: the tetrahedra, the stuff that `physsim grasp` gives them, and `count` splats of the painted surface."""
    from physsim import NeoHookean, load_mesh
    from physsim.appearance.asset import Asset
    from physsim.appearance.sources import splats_from_mesh

    here = Path(__file__).parent
    splats = splats_from_mesh(here / "painted.obj", count)
    stuff = NeoHookean(young=2e4, poisson=0.3, density=120.0, viscosity=10.0)
    Asset("plush", load_mesh(here / "plush.mesh"), stuff, splats).save(folder)


def _over(colour, cover, above):
    return colour + cover[:, None] * (np.asarray(above) - colour)


def _below(value):
    """1 where a length is negative, 0 where it is positive, over a width of `EDGE`."""
    return np.clip(0.5 - value / EDGE, 0.0, 1.0)


def _within(value, low, high):
    return _below(low - value) * _below(value - high)


def _distance(points, centre):
    return np.linalg.norm(points - centre, axis=1)


def _segment(points, centre, radius):
    """Positive inside a ball: where the jumper ends at the paws."""
    return radius - _distance(points, centre)
