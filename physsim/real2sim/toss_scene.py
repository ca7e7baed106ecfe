"""Simulated tosses: rigid cubes fly, strike the table, tumble, slide and come to rest, all tosses side by side as environments.

What the recordings know is where a cube comes to lie, not how hard the table is. Contact begins a gap above the solid and presses as
soon as the cube comes nearer, so that the table stands lower by the gap and a resting cube lies where the recorded one does.
"""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError, SolverError
from physsim.physics import validation
from physsim.physics.builder import ModelBuilder
from physsim.physics.frames import matrices
from physsim.physics.shapes import Box
from physsim.physics.solvers import SolverImplicit
from physsim.real2sim.toss import Launches, TossFacts

STIFFNESS = 1e6  # of contact [Pa]: a corner that strikes at 1 m/s stops within a fraction of the gap
DAMPING = 1e5  # of contact [Pa s/m]: takes most of a stroke's energy, as the published restitution of 1/8 does
CREEP = 1e-3  # sliding speed at which friction is fully developed [m/s]; a cube that slides so slowly has 0.3 um to go
STILL = 5e-3  # [m/s]: a cube none of whose corners is faster rests
LOOK = 20  # steps between two looks at whether all rest


@dataclass(frozen=True, eq=False)
class Rest:
    """Where cubes came to lie.

    Attributes:
        positions: of the centres [m], shape [n, 3]
        rotations: body to world, shape [n, 3, 3]
        time: after which the last one lay still [s]
        iterations: of Newton's method, over all steps and tosses
    """

    positions: np.ndarray
    rotations: np.ndarray
    time: float
    iterations: int


class TossScene:
    """Cubes over a table, one an environment; built once for many simulations with other parameters of contact.

    Args:
        count: tosses.
        facts: of the cube and the recording, whose lengths are used (`seen_edge`, `seen_gravity`).
        gap: height above the table at which contact begins to push [m].
        dt: step [s].
        device: as Warp names it.

    Raises:
        InputError: a value out of range.
    """

    def __init__(self, count: int, facts: TossFacts, gap: float = 1e-3, dt: float = 2e-3, device: str = "cpu"):
        gap = float(validation.array("gap", gap, (), lower=0.0, lower_open=True))
        builder = ModelBuilder(gravity=(0.0, 0.0, -facts.seen_gravity))
        inertia = facts.seen_inertia * np.eye(3)
        self.cube = builder.add_rigid_body(Box((facts.seen_edge,) * 3), mass=facts.mass, inertia=inertia, name="cube")
        builder.add_ground(-gap, name="table")
        self.contact = builder.enable_contact(gap=gap, stiffness=STIFFNESS, damping=DAMPING, creep=CREEP)
        self.model = builder.finalize(device=device, envs=count)
        self.solver = SolverImplicit(self.model, dt=dt, integrator="backward_euler")

    def state(self, launches: Launches):
        """State of the model in which the cubes are let go.

        Raises:
            InputError: another number of launches than the scene has tosses.
        """
        n = self.model.envs
        if len(launches.positions) != n:
            raise InputError(f"launches: {len(launches.positions)} were given to a scene of {n} tosses; make a TossScene of as many")
        turns = matrices(launches.quaternions)
        arms = np.einsum("nij,kj->nki", turns, self.cube.mesh.points)
        spins = np.einsum("nij,nj->ni", turns, launches.angular_velocities)
        x = np.tile(self.model.positions, (n, 1, 1))
        v = np.zeros_like(x)
        x[:, self.cube.particles] = launches.positions[:, None] + arms
        v[:, self.cube.particles] = launches.velocities[:, None] + np.cross(spins[:, None], arms)
        return self.model.state(x, v)

    def rest(
        self,
        launches: Launches,
        friction: float | np.ndarray,
        damping: float | np.ndarray = DAMPING,
        stiffness: float | np.ndarray = STIFFNESS,
        duration: float = 5.0,
    ) -> Rest:
        """Let the cubes go and wait until all lie still.

        Args:
            launches: states at which they are let go, in the recording's lengths.
            friction: of the cube on the table [-], one or one a toss, shape [n].
            damping: of contact [Pa s/m], likewise.
            stiffness: of contact [Pa], likewise.
            duration: longest wait [s].

        Raises:
            InputError: a value out of range, or another number of launches than the scene has tosses.
            SolverError: a cube still moves after `duration`, or a step failed.
        """
        pair = self.contact
        given = {pair.friction: friction, pair.damping: damping, pair.stiffness: stiffness}
        params = self.model.resolve({key: value if np.ndim(value) == 0 else np.reshape(value, (-1, 1)) for key, value in given.items()})
        state, iterations = self.state(launches), 0
        for step in range(1, int(np.ceil(duration / self.solver.dt)) + 1):
            state, report = self.solver.step(state, params=params)
            iterations += int(report.iterations.sum())
            if step % LOOK == 0:
                speeds = np.linalg.norm(state.velocities[:, self.cube.particles], axis=-1).max(axis=1)
                if (speeds < STILL).all():
                    positions, rotations = self.cube.mesh.pose(state.positions[:, self.cube.particles])
                    return Rest(positions, rotations, state.time, iterations)
        moving = np.flatnonzero(speeds >= STILL)
        text = f"after {duration:g} s {len(moving)} of {len(speeds)} cubes still move, cube {moving[0]} with {speeds[moving[0]]:.2g} m/s"
        raise SolverError(f"{text}; wait longer, or use more friction or damping")


def simulate_tosses(
    launches: Launches,
    facts: TossFacts,
    friction: float,
    damping: float = DAMPING,
    stiffness: float = STIFFNESS,
    *,
    gap: float = 1e-3,
    dt: float = 2e-3,
) -> np.ndarray:
    """Resting positions of the centres of tossed cubes [m], shape [n, 3].

    For `fit_tosses`, which simulates many times, make a `TossScene` once and take the positions of its `rest`.

    Args:
        launches: n states at which cubes are let go, in the recording's lengths.
        facts: of the cube and the recording.
        friction: of the cube on the table [-].
        damping: of contact [Pa s/m].
        stiffness: of contact [Pa].
        gap: height above the table at which contact begins to push [m].
        dt: step [s].

    Raises:
        InputError: a value out of range.
        SolverError: a cube that does not come to rest, or a step that failed.
    """
    scene = TossScene(len(launches.positions), facts, gap=gap, dt=dt)
    return scene.rest(launches, friction, damping, stiffness).positions
