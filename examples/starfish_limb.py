"""A tendon bends a limb of a silicone starfish: fit the first half of a real recording, predict the second.

What was recorded is the command to the motor and four markers from the side. The limb hardly moves while the command runs up and down some
17 times a second, and twitches when the command stays low: the number counts what is left to wind up, and the tendon is just taut at the
value at which it rests before the motion. The pull arrives three frames later. Damping of the limb, and stiffness and slack of the tendon
on either side of the clamp, are fitted; forces were not measured, so that they count per modulus, for which that of a soft silicone is
taken. The markers drift by a millimetre, which no model here explains.
"""

import numpy as np

import physsim as ps
from physsim import assets
from physsim.capture.convert import convert
from physsim.real2sim.identify import identify
from physsim.real2sim.least_squares import Variable
from physsim.real2sim.tracks import Tracks

PERIOD = 47.2894  # of the command [frames]: sorted by the phase within it, its samples lie on one smooth curve
LATE = 3  # frames from the command to the pull
WIDTH, CLAMP = 0.016, -0.1353  # [m]: of the limb; height of the clamp, from which the markers' displacements grow like squares
STEPS = 2  # a frame


def command(capture, per_frame=8):
    """(times, how far the tendon is pulled [m]) between the frames, too."""
    value = capture.handles["tendon"].positions[:, 0]
    frames = np.arange(len(value))
    begins = int(np.argmax(value != value[0]))
    moving = frames > begins + 10
    phase = frames / PERIOD % 1.0
    order = np.argsort(phase[moving])
    fine = np.arange(0, len(value) - 1 + 1e-9, 1 / per_frame)
    curve = np.interp(fine / PERIOD % 1.0, phase[moving][order], value[moving][order], period=1.0)
    curve[fine < begins] = value[0]
    interval = float(np.median(np.diff(capture.times)))
    return capture.times[0] + interval * (fine + LATE), value[0] - curve


def build(rest):
    """(model, body, tendons): a bar through the markers [4, 3], held at the clamp, with a tendon in front from either tip to the clamp."""
    low, high = rest[:, 2].min() - 0.003, rest[:, 2].max() + 0.003
    corner = (rest[:, 0].mean() - WIDTH / 2, -WIDTH / 2, low)
    mesh = ps.box_mesh((WIDTH, WIDTH, high - low), (1, 2, 10), origin=corner)
    x = mesh.points
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(mesh, ps.NeoHookean(young=3e5, poisson=0.3, density=1070.0, viscosity=1e4), name="limb")
    heights = np.unique(x[:, 2])
    held = heights[np.argsort(np.abs(heights - CLAMP))[:2]]
    builder.attach(body, np.flatnonzero(np.isin(x[:, 2], held)), name="clamp")
    front = np.flatnonzero((x[:, 0] > x[:, 0].max() - 1e-9) & (np.abs(x[:, 1]) < 1e-9))
    front = front[np.argsort(x[front, 2])]
    tendons = []
    for way in (front, front[::-1]):
        way = way[: 1 + int(np.argmax(np.isin(x[way, 2], held)))]
        way = way[np.unique(np.linspace(0, len(way) - 1, 7).round().astype(int))]
        tendons.append(builder.add_tendon(body, way, 2e3, end=x[way[-1]] + [0.05, 0.0, 0.0], onset=2e-4))
    return builder.finalize(), body, tendons


def main(seconds=None):
    """Held-out error of the fitted limb with its last residual carried on, over that of the last frame held.

    Args:
        seconds: of the first half that are fitted; None: all.
    """
    capture = convert(assets.folder("starfish") / "airtest.csv")
    times, seen, half = capture.times, capture.tracks.positions, len(capture.fit)
    rest = seen[:40].mean(axis=0)
    model, body, tendons = build(rest)
    moments, pull = command(capture)
    ends = {t.name: model.rest[t.end.particles] + pull[:, None, None] * [1.0, 0.0, 0.0] for t in tendons}
    control = ps.Control(moments, ends)
    nodes, weights = body.mesh.interpolation(rest, outside=0.02)
    fitted = capture.fit if seconds is None else capture.fit[times[capture.fit] <= times[0] + seconds]
    tracks = Tracks(times[fitted], nodes, weights, seen[fitted], components="xz")
    unknown = {body.viscosity: Variable("viscosity", 1e4, 1e2, 1e6, "log", "Pa s")}
    for side, tendon in zip(("lower", "upper"), tendons, strict=True):
        length = tendon.length
        unknown[tendon.stiffness] = Variable(f"{side} stiffness", 4e3, 10.0, 1e6, "log", "N/m")
        unknown[tendon.rest_length] = Variable(f"{side} length", length, length - 0.005, length + 0.005, "linear", "m")
    dt = float(np.median(np.diff(times))) / STEPS
    fit = identify(ps.SolverImplicit(model, dt, strict=False), tracks, unknown, control=control, max_iterations=12)
    print(fit.statement())
    solver, state = ps.SolverImplicit(model, dt), model.state(time=times[0])
    params = {parameter: fit.values[variable.name] for parameter, variable in unknown.items()}
    limb = np.empty_like(seen)
    for k, time in enumerate(times):
        while state.time < time - 1e-9:
            state, _ = solver.step(state, control, params=params)
        limb[k] = tracks.observe(state.positions)

    def error(predicted):
        """Root of the mean squared distance in the plane over the second half [m]."""
        return float(np.sqrt(((predicted - seen)[half:, :, [0, 2]] ** 2).sum(axis=2).mean()))

    value = np.stack([capture.handles["tendon"].positions[:, 0], np.ones(len(times))], axis=1)
    shares = np.linalg.lstsq(value[:half], seen[:half].reshape(half, -1), rcond=None)[0]
    errors = {
        "limb": error(limb),
        "limb, its last residual carried on": error(limb + (seen - limb)[half - 1]),
        "last frame held": error(np.broadcast_to(seen[half - 1], seen.shape)),
        "markers regressed on the command": error((value @ shares).reshape(seen.shape)),
    }
    for name, size in errors.items():
        print(f"{1e3 * size:.3f} mm  {name}")
    return errors["limb, its last residual carried on"] / errors["last frame held"]


if __name__ == "__main__":
    main()
