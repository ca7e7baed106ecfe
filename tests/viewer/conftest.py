"""What the viewer's tests look at."""

import numpy as np
import pytest

import physsim as ps
from physsim.appearance.asset import Asset
from physsim.appearance.run import Run, RunBody
from physsim.appearance.sources import splats_from_mesh
from physsim.viewer.live import hold_points


def block(ground=None):
    """A soft block that stands on its held bottom, as a run of one frame."""
    mesh = ps.box_mesh((0.05, 0.05, 0.1), (3, 3, 6), order=1)
    body = RunBody("block", mesh, ps.NeoHookean(5e4, 0.3, 300.0, 10.0), held=hold_points(mesh), colour="#d0605e")
    return Run.of_parts([0.0], [body], [mesh.points[None]], ground=ground)


def slide(frames=30):
    """The block as a recording in which it slides 0.1 m along x in one second, without a material."""
    mesh = ps.box_mesh((0.05, 0.05, 0.1), (1, 1, 2))
    times = np.linspace(0.0, 1.0, frames)
    positions = mesh.points + 0.1 * times[:, None, None] * np.array([1.0, 0.0, 0.0])
    return Run.of_parts(times, [RunBody("block", mesh, colour="#d0605e")], [positions], ground=0.0)


def painted(degree=0):
    """The block as an Asset: red in front (y = 0), green elsewhere."""
    mesh = block().bodies[0].mesh
    front = lambda x: np.where(x[:, 1:2] < 1e-6, [0.9, 0.1, 0.1], [0.1, 0.7, 0.1])  # noqa: E731
    splats = splats_from_mesh(mesh, 6000, colours=front, degree=degree)
    return Asset("block", mesh, block().bodies[0].material, splats)


@pytest.fixture
def asset():
    return painted()


@pytest.fixture
def standing():
    return block()


@pytest.fixture
def sliding():
    return slide()
