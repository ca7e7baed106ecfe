"""What there is to see of a run: surfaces, strain and its colours, splats, frame by frame."""

import numpy as np

from physsim.appearance.skin import Skin

MODES = ("mesh", "strain", "splats")
SAMPLES = 24  # frames that the range of strain is taken from
LARGER = 1.5  # times a body's size, up to which a rigid thing must be in view as a whole; a robot's arm need not
LEAST = 0.01  # smallest end of that range [-]


class Stage:
    """The bodies of a run, ready to be drawn.

    Args:
        run: Run.

    Attributes:
        skins: a Skin a body.
        modes: of "mesh", "strain", "splats" those that the run offers.
    """

    def __init__(self, run):
        self.run = run
        self.skins = tuple(Skin(body.mesh, body.radius) for body in run.bodies)
        self.with_splats = tuple(i for i, body in enumerate(run.bodies) if getattr(body.asset, "splats", None) is not None)
        self._looks = {}
        self.modes = tuple(m for m in MODES if {"strain": run.bodies, "splats": self.with_splats}.get(m, True))

    def splats(self, i, positions, eye):
        """Splats of a body, posed and coloured; by the asset's network where it has one.

        Args:
            i: number of the body, one of `with_splats`.
            positions: of its points [m], shape [n, 3].
            eye: from where they are seen [m], shape [3].

        Returns:
            PosedSplats.
        """
        import torch

        from physsim.appearance.scene import PosedSplats

        splats = self.run.bodies[i].asset.splats
        binding, network = self.look(i)
        with torch.no_grad():
            posed, colours = binding.pose(torch.as_tensor(np.asarray(positions, dtype=np.float32))), None
            if network is not None:
                from physsim.appearance.color import splat_colors

                colours = splat_colors(splats, posed, torch.as_tensor(np.asarray(eye, dtype=np.float32)), network)
            return PosedSplats(splats, posed, colours)

    def look(self, i):
        """(Binding, ColorNetwork or None) of a body's asset, made once."""
        if i not in self._looks:
            asset = self.run.bodies[i].asset
            network = None
            if asset.network is not None:
                from physsim.appearance.color import ColorNetwork

                network = ColorNetwork.from_arrays(asset.network).to(asset.splats.means)  # of the splats' dtype and device
            self._looks[i] = asset.bind(), network
        return self._looks[i]

    @property
    def changes_with_view(self):
        """Whether splats have other colours from elsewhere."""
        assets = [self.run.bodies[i].asset for i in self.with_splats]
        return any(asset.splats.degree > 0 or asset.network is not None for asset in assets)

    def strain_range(self):
        """Ends of the colours of strain [-]: 0 and what hardly any point exceeds in any frame."""
        high = LEAST
        for frame in self._sampled():
            for skin, x in zip(self.skins, self.run.positions(frame), strict=True):
                high = max(high, float(np.quantile(skin.strain(x), 0.998)))
        return 0.0, rounded_up(high)

    def box(self):
        """Lowest and highest corner of what is to be in view in all frames [m], shape [2, 3]: bodies, and links not much larger."""
        bodies = [(x.min(axis=0), x.max(axis=0)) for f in range(len(self.run)) for x in self.run.positions(f)]
        size = np.max([high - low for low, high in bodies]) if bodies else np.inf
        for frame in self._sampled():
            for points in self.link_points(frame):
                if np.ptp(points, axis=0).max() <= LARGER * size:
                    bodies.append((points.min(axis=0), points.max(axis=0)))
        low, high = zip(*bodies, strict=True)
        return np.array([np.min(low, axis=0), np.max(high, axis=0)])

    def _sampled(self):
        """Numbers of some frames, evenly spread."""
        return np.unique(np.linspace(0, len(self.run) - 1, SAMPLES).round().astype(int))

    def link_points(self, frame):
        """Points of every link in the world in a frame [m]."""
        from physsim.physics.frames import matrices

        places, turns = self.run.poses(frame)
        links = self.run.links
        return [link.points @ R.T + place for link, place, R in zip(links, places, matrices(turns), strict=True)] if links else []


def rounded_up(value):
    """The next number of 1, 1.5, 2, 3, 5, 7 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(power * next(f for f in (1, 1.5, 2, 3, 5, 7, 10) if f * power >= value * (1 - 1e-9)))


def palette(count=256):
    """Colours of strain from low to high in 0..1, shape [count, 3]."""
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0.0, 1.0, count))[:, :3]


def strain_colours(strain, high):
    """Colours in 0..1, shape [..., 3], of strains [...] from 0 to `high`."""
    table = palette()
    return table[np.clip(np.nan_to_num(strain) / high * (len(table) - 1), 0, len(table) - 1).astype(int)]
