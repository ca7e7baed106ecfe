"""Handles of a viser scene that show a run's bodies and links, and take drags."""

import numpy as np

from physsim.physics.mesh import TetMesh
from physsim.report.overlay import rgb
from physsim.viewer.stage import palette, strain_colours

UNITS = 10.0  # size that bodies have in the browser's splats, whose covariances are in half precision: 1e-6 m^2 would be hardly a number
INSET = 0.02  # how deep inside a solid the mesh lies that the pointer takes hold of, as a share of the size
LEAST_SPREAD = 0.75  # variance [pixel^2] to which small splats are widened: the page leaves out what is smaller than half a pixel
BINS = 16  # shades of strain: a mesh of the browser has one colour, so that each shade is a mesh of its own


class Canvas:
    """What of a Stage is in the browser.

    Args:
        server: of `start_server`.
        stage: Stage.
        on_drag: async function of (number of the body, phase, start [m], end [m]), or None.
    """

    def __init__(self, server, stage, on_drag=None):
        self._server, self._stage = server, stage
        self._meshes, self._shades, self._links, self._splats, self._grips = [], [], [], {}, {}
        self._palette = palette(BINS)
        self._finer = UNITS / max(float(np.max(np.diff(stage.box(), axis=0))), 1e-6)
        run = stage.run
        for i, (body, skin, x) in enumerate(zip(run.bodies, stage.skins, run.positions(0), strict=True)):
            side = "double" if skin.two_sided else "front"
            mesh = server.scene.add_mesh_simple(
                f"/bodies/{i}/mesh", skin.points(x).astype(np.float32), skin.triangles.astype(np.uint32), color=rgb(body.colour), side=side
            )
            if on_drag is not None:
                mesh.on_drag("left")(_drag_callback(on_drag, i))
            self._meshes.append(mesh)
            if i in stage.with_splats:
                self._splats[i] = self._add_splats(i)
                # splats cannot be taken hold of: an unseen mesh can. It hides what is behind it all the same, so that it lies inside a
                # solid, and elsewhere is but lines
                grip = self._grips[i] = server.scene.add_mesh_simple(
                    f"/bodies/{i}/grip", mesh.vertices, mesh.faces, wireframe=not isinstance(body.mesh, TetMesh), opacity=0.0, visible=False
                )
                if on_drag is not None:
                    grip.on_drag("left")(_drag_callback(on_drag, i))
            self._shades.append([self._add_shade(i, k, 1) for k in range(BINS)])
        for i, (link, place, turn) in enumerate(zip(run.links, *run.poses(0), strict=True)):
            self._links.append(
                server.scene.add_mesh_simple(
                    f"/links/{i}",
                    link.points.astype(np.float32),
                    link.triangles.astype(np.uint32),
                    color=rgb(link.colour),
                    flat_shading=True,
                    side="double",
                    position=place,
                    wxyz=turn,
                )
            )
        self._pull = server.scene.add_line_segments(
            "/pull", np.zeros((1, 2, 3), np.float32), np.array([225, 29, 72], np.uint8), thickness=3.0, visible=False
        )

    def _add_splats(self, i):
        self._stage.look(i)  # what cannot be bound is said at the start
        count = len(self._stage.run.bodies[i].asset.splats)
        nothing = np.zeros((count, 3), np.float32), np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
        colours = np.zeros((count, 3), np.float32), np.zeros((count, 1), np.float32)
        return self._server.scene.add_gaussian_splats(f"/bodies/{i}/splats", *nothing, *colours, scale=1.0 / self._finer, visible=False)

    def _add_shade(self, i, k, room, visible=False):
        """A mesh for one shade of strain of a body, with room for so many triangles that share no corners."""
        return self._server.scene.add_mesh_simple(
            f"/bodies/{i}/strain/{k}",
            np.zeros((3 * room, 3), np.float32),
            np.arange(3 * room, dtype=np.uint32).reshape(-1, 3),
            color=tuple((255 * self._palette[k]).astype(int).tolist()),
            flat_shading=True,
            side="double" if self._stage.skins[i].two_sided else "front",
            visible=visible,
        )

    def show(self, mode, positions, poses, high, eye, pixel):
        """Bring the browser up to date.

        Args:
            mode: of the stage's modes.
            positions: of every body's points [m], shape [n, 3] each.
            poses: (places, quaternions) of the links.
            high: strain at the upper end of the colours.
            eye: from where splats are seen [m], shape [3].
            pixel: size of the page's pixels, in the midst of what is seen [m].
        """
        with self._server.atomic():
            for i, x in enumerate(positions):
                own = mode if mode != "splats" or i in self._stage.with_splats else "mesh"
                points = self._stage.skins[i].points(x)
                # the plain mesh stays, unseen, about shades of strain: it is what the pointer takes hold of
                self._set(
                    self._meshes[i], vertices=points.astype(np.float32), opacity=0.0 if own == "strain" else None, visible=own != "splats"
                )
                self._show_strain(i, points, x, high, own == "strain")
                if i in self._splats:
                    self._show_splats(i, points, x, eye, pixel, own == "splats")
            for handle, place, turn in zip(self._links, *poses, strict=True):
                handle.position, handle.wxyz = place, turn

    def _show_strain(self, i, points, x, high, shown):
        shades, triangles = self._shades[i], self._stage.skins[i].triangles
        if shown:
            value = self._stage.skins[i].strain(x)[triangles].mean(axis=1)
            shade = np.clip(np.nan_to_num(value) / high * BINS, 0, BINS - 1).astype(int)
        for k, handle in enumerate(shades):
            self._set(handle, visible=shown)
            if not shown:
                continue
            picked = triangles[shade == k]
            room = len(handle.faces)
            if len(picked) > room:
                handle = shades[k] = self._add_shade(i, k, min(max(2 * room, len(picked)), len(triangles)), shown)
            # only corners move from picture to picture, for the browser takes changes of other kinds at other moments
            corners = np.empty((len(handle.faces), 3, 3), np.float32)
            corners[: len(picked)] = points[picked]
            corners[len(picked) :] = points[0]  # what is left over has no area
            self._set(handle, vertices=corners.reshape(-1, 3))

    def _show_splats(self, i, points, x, eye, pixel, shown):
        if shown:
            if isinstance(self._stage.run.bodies[i].mesh, TetMesh):
                points = self._stage.skins[i].inset(points, INSET * UNITS / self._finer)
            self._set(self._grips[i], vertices=points.astype(np.float32))
            seen = self._stage.splats(i, x, eye)
            factors = self._finer * seen.posed.factors.cpu().numpy()
            colours = seen.seen_from(eye).detach().cpu().numpy().clip(0.0, 1.0)
            opacities = seen.splats.opacities.detach().cpu().numpy()[:, None]
            centres = self._finer * seen.posed.means.cpu().numpy()
            covariances = widened(factors @ factors.swapaxes(1, 2), LEAST_SPREAD * (self._finer * pixel) ** 2)
            self._splats[i].set_gaussians(centres, covariances, colours, opacities)
        self._set(self._splats[i], visible=shown)
        self._set(self._grips[i], visible=shown)

    @staticmethod
    def _set(handle, **values):
        for name, value in values.items():
            now = getattr(handle, name)
            if isinstance(value, np.ndarray) or now != value:
                setattr(handle, name, value)

    def show_pull(self, ends):
        """Draw the line from the held point to the pointer: two positions [m], or None for no line."""
        if ends is not None:
            self._pull.points = np.asarray(ends, dtype=np.float32).reshape(1, 2, 3)
        self._set(self._pull, visible=ends is not None)


def legend(high, width=256, height=14):
    """Colour bar of strain, uint8 [height, width, 3]."""
    row = strain_colours(np.linspace(0.0, high, width), high)
    return np.broadcast_to((255 * row).astype(np.uint8), (height, width, 3)).copy()


def widened(covariances, least):
    """Covariances of splats, as much wider in all directions as the geometric mean of a splat's two larger variances is below a least.

    Args:
        covariances: shape [n, 3, 3].
        least: variance, in the same unit.
    """
    trace, squares = np.einsum("nii->n", covariances), np.einsum("nij,nij->n", covariances, covariances)
    pairs = 0.5 * (trace * trace - squares)  # of variances, their products: of flat splats the two larger ones'
    missing = np.maximum(least - np.sqrt(np.maximum(pairs, 0.0)), 0.0)
    return covariances + missing[:, None, None].astype(covariances.dtype) * np.eye(3, dtype=covariances.dtype)


def _drag_callback(on_drag, number):
    async def dragged(event):
        await on_drag(number, event.phase, event.start_position, event.end_position)

    return dragged
