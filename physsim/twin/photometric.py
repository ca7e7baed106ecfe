"""Pixels as a term of a fit: splats drawn where the body is simulated, minus what the camera saw, over smaller pictures.

    residual = drawn + (1 - alpha) behind - (mask picture + (1 - mask) behind)      red, green, blue of each pixel

Behind the body stands a grey in both pictures, so that its outline counts too; where there is no mask, the picture itself, so that only
what splats cover counts. How pixels follow the body is found by drawing it twice along each direction, a fraction of a pixel to
either side; the transpose, by the renderer's own gradient.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from physsim.appearance.asset import Asset
from physsim.appearance.camera import Camera
from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics import validation
from physsim.twin.linear import CORE, Linear
from physsim.twin.shrunk import averaged, shrunk_camera, spread_frames

GREY = 0.5  # behind the body
SIDE = 96  # longer side of the pictures that are compared [pixel]
AROUND = 0.06  # of that side: how far from the mask pixels still count
STEP = 0.1  # of a pixel: largest motion to either side by which a derivative is taken
MOST_FRAMES = 30


class PhotometricTerm:
    """What a camera's pictures say of the body whose look is known.

    Args:
        capture: with colour of the camera.
        asset: whose splats are bound to the body's mesh.
        camera: name of the camera.
        frames: numbers of the frames, shape [f]; None: at most 30 of those to fit.
        sigma: standard deviation of one residual [-]; None: as the capture states of colour, else 0.03.
        side: longer side of the pictures that are compared [pixel].

    Raises:
        InputError: no such camera, no colour, an asset without splats, no frame that shows the body.
    """

    def __init__(
        self,
        capture: Capture,
        asset: Asset,
        camera: str,
        frames: Sequence[int] | None = None,
        sigma: float | None = None,
        side: int = SIDE,
    ) -> None:
        if camera not in capture.colour:
            raise InputError(f"camera {camera!r}: the capture has colour of {', '.join(capture.colour) or 'no camera'}")
        if asset.splats is None:
            raise InputError(f"asset {asset.name!r}: it has no splats, so that nothing can be drawn; fit its appearance first")
        frames = spread_frames(capture.fit, MOST_FRAMES) if frames is None else np.asarray(frames, dtype=int)
        self.name = "colour" if len(capture.colour) == 1 else f"colour {camera}"
        given = capture.noise.get("colour", 0.03) if sigma is None else sigma
        self.sigma = float(validation.array("PhotometricTerm.sigma", given, (), lower=0.0, lower_open=True))
        self.camera = shrunk_camera(capture.cameras[camera], int(side))
        self._painter, self._pictures = Painter(asset, self.camera), {}
        for frame in frames:
            picture = self._picture(capture, camera, int(frame))
            if picture is not None:
                self._pictures[int(frame)] = picture
        if not self._pictures:
            raise InputError(f"camera {camera!r}: none of {len(frames)} frames has a picture that shows the body")
        self.frames = np.array(list(self._pictures), dtype=int)

    def _picture(self, capture, camera, frame):
        """(what is to be seen [h, w, 3], behind [h, w, 3], rows of pixels that count), or None."""
        colour, mask = capture.colour[camera][frame], capture.mask[camera][frame] if camera in capture.mask else None
        if colour is None or (camera in capture.mask and (mask is None or not mask.any())):
            return None
        colour = averaged(colour, self.camera)
        if mask is None:
            return colour, colour, np.arange(self.camera.height * self.camera.width)
        share = averaged(mask, self.camera)[..., None]
        behind = np.full_like(colour, GREY)
        return share * colour + (1.0 - share) * behind, behind, np.flatnonzero(_near(share[..., 0] > 0.0, self.camera))

    def linearise(self, frame: int, x: np.ndarray) -> Linear:
        """As every term: Linear at positions x [n, 3] [m], of which the body's come first."""
        wanted, behind, counted = self._pictures[int(frame)]
        painter, particles = self._painter, len(x)

        def residuals(positions):
            drawn, alpha = painter.draw(positions)
            return (drawn + (1.0 - alpha[..., None]) * behind - wanted).reshape(-1, 3)[counted].ravel().astype(np.float64)

        def apply(moved):
            flat = moved.reshape(-1, particles, 3)
            rows = [self._along(residuals, x, direction) for direction in flat]
            return np.array(rows).reshape(*moved.shape[:-2], 3 * len(counted))

        def pull(values):
            spread = np.zeros((behind.shape[0] * behind.shape[1], 3))
            spread[counted] = values.reshape(-1, 3)
            spread = spread.reshape(behind.shape)
            return painter.pull(x, spread, -(spread * behind).sum(axis=2))

        now = residuals(x)
        square = (now / (CORE * self.sigma)) ** 2
        weights = 1.0 / (1.0 + square)
        shrink = np.sqrt(np.where(square > 1e-8, np.log1p(square) / np.where(square > 1e-8, square, 1.0), 1.0 - square / 2))
        return Linear(now, weights, apply, shrink, pull, self._inside(now, behind, wanted, counted))

    def _inside(self, residuals, behind, wanted, counted):
        """Residuals of pixels on the body: beside it they are 0 wherever nothing is drawn, and say nothing of the noise."""
        on = (np.abs(wanted - behind).max(axis=2) > 0.0).ravel()[counted]
        return residuals.reshape(-1, 3)[on] if on.any() else residuals

    def _along(self, residuals, x, direction):
        """Derivative of the residuals along a direction [n, 3], by a central difference."""
        step = self._painter.step(x, direction)
        if step == 0.0:
            return np.zeros_like(residuals(x))
        return (residuals(x + step * direction) - residuals(x - step * direction)) / (2.0 * step)

    def data(self) -> list:
        """Arrays that make this term what it is, for a fingerprint."""
        return [self.frames, *(part for picture in self._pictures.values() for part in picture[:1]), *self._painter.data()]


class Painter:
    """Draws an asset's splats where its mesh's points are.

    Args:
        asset: with splats.
        camera: Camera.
    """

    def __init__(self, asset: Asset, camera: Camera) -> None:
        import torch

        from physsim.appearance.color import ColorNetwork

        self.camera, self._splats, self._binding, self._count = camera, asset.splats, asset.bind(), len(asset.mesh.points)
        self._network = None if asset.network is None else ColorNetwork.from_arrays(asset.network).to(asset.splats.means)
        self._eye = torch.as_tensor(camera.position).to(asset.splats.means)

    def draw(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(colour over black [h, w, 3], alpha [h, w]) of positions [n, 3] [m]."""
        import torch

        with torch.no_grad():
            raster = self._raster(torch.as_tensor(positions[: self._count]))
            return raster.features.cpu().numpy(), raster.alpha.cpu().numpy()

    def pull(self, positions: np.ndarray, by_colour: np.ndarray, by_alpha: np.ndarray) -> np.ndarray:
        """Gradient by the positions [n, 3] of what has gradients [h, w, 3] by colour and [h, w] by alpha."""
        import torch

        at = torch.as_tensor(positions[: self._count]).requires_grad_(True)
        raster = self._raster(at)
        given = [torch.as_tensor(np.ascontiguousarray(g)).to(raster.features) for g in (by_colour, by_alpha)]
        torch.autograd.backward([raster.features, raster.alpha], given)
        out = np.zeros(positions.shape)
        out[: self._count] = at.grad.cpu().numpy()
        return out

    def _raster(self, positions):
        from physsim.appearance.fitting import draw_splats

        moved = positions.to(self._splats.means)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "rasterize: none of")  # a trial of a fit may leave the picture
            return draw_splats(self._splats, self._binding, self._network, self.camera, self._eye, moved)[0]

    def step(self, positions: np.ndarray, direction: np.ndarray) -> float:
        """How far along a direction [n, 3] nothing moves by more than `STEP` of a pixel in the image; 0: it moves nothing."""
        x, moved = positions[: self._count], np.linalg.norm(direction[: self._count], axis=1)
        depth = (x @ self.camera.rotation[2]) + self.camera.translation[2]
        near = moved * max(self.camera.focal) / np.maximum(depth, 1e-3 * np.abs(depth).max() + 1e-9)
        fastest = near.max(initial=0.0)
        return STEP / fastest if fastest > 0.0 else 0.0

    def data(self) -> list:
        """Arrays that make the look what it is."""
        splats = self._splats
        parts = (splats.means, splats.scales, splats.rotations, splats.opacities, splats.harmonics, splats.latents)
        network = [] if self._network is None else list(self._network.arrays().values())
        return [part.detach().cpu().numpy() for part in parts] + network


def _near(mask, camera):
    """Pixels within `AROUND` of the picture's longer side from a mask."""
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(~mask) <= max(2.0, AROUND * max(camera.width, camera.height))
