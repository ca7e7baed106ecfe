"""The unknowns of a fit: numbers that are fitted, what of the simulation each of them sets, and what is assumed of it beforehand."""

from dataclasses import dataclass, field, replace

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.real2sim.least_squares import Variable

PARAMETER, TIME, POSE, GRAVITY, PLACE, SPEED = "parameter", "time offset", "camera pose", "gravity direction", "place", "speed"
STIFFNESSES = ("young", "stretch", "stretch_warp", "stretch_weft", "shear", "bending", "bending_warp", "bending_weft", "stiffness")
DAMPINGS = ("viscosity", "damping", "stretch_damping", "bending_damping")
WIDE = 1e5  # factor by which a fitted value may leave its start, either way
PLACE_SHARE = 0.03  # of the body's extent: expected error of the start's place along one way
SPEED_EXPECTED = 0.3  # expected error of the start's velocity along one way [m/s]
OFFSET_EXPECTED, OFFSET_MOST = 0.05, 0.2  # of clocks [s]
TURN_EXPECTED, SHIFT_EXPECTED = 0.05, 0.02  # of the cameras' pose [rad], [m]
TILT_EXPECTED = 0.05  # [rad]
SPREAD_LINEAR = 0.5  # of a bounded number's range: standard deviation that is assumed of it


@dataclass(frozen=True)
class Unknown:
    """One number to be fitted.

    Args:
        variable: Variable: name, start (user units), bounds, scale, unit.
        role: "parameter": of the model; "time offset", "camera pose", "gravity direction", "place", "speed": see the fields.
        parameter: name of the model's Parameter that it sets.
        pattern: share of it in each entry of the parameter, of the parameter's shape; None: 1 in every entry. Entries of a parameter
            that no unknown's pattern touches keep their values.
        index: of a component: 0 to 2 turns and 3 to 5 shifts of the cameras, 0 or 1 of gravity's tilts, the way of the start.
        prior: standard deviation about the start, in scaled space (logarithms of what is fitted on a log scale); None: none.
        wanted: whether it is a result with an interval; else a nuisance.
        carried: name of another of the model's parameters -> its value over this number's, of that parameter's shape: it is in proportion.
    """

    variable: Variable
    role: str = PARAMETER
    parameter: str | None = None
    pattern: np.ndarray | None = None
    index: int = 0
    prior: float | None = None
    wanted: bool = True
    carried: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of its variable."""
        return self.variable.name

    def started_at(self, value: float) -> "Unknown":
        """The same from another start; what is assumed beforehand stays about the first one's."""
        return replace(self, variable=self.variable.started_at(value))


def parameter_unknown(
    scene: object, name: str, start: float | None = None, lower: float | None = None, upper: float | None = None, prior: float | None = None
) -> Unknown:
    """An unknown that sets a parameter of the scene as a whole.

    Args:
        scene: TwinScene.
        name: short name in `scene.parameters`.
        start: user units; None: the mean of the scene's own values.
        lower, upper: bounds; None: what the parameter allows, at most a factor of 1e5 either way.
        prior: standard deviation of what is assumed of it, about the start, in scaled space; None: none.

    Raises:
        InputError: a parameter that the scene lacks.
    """
    if name not in scene.parameters:
        raise InputError(f"unknowns: the scene has no parameter {name!r}; it has {', '.join(scene.parameters)}")
    p = scene.parameters[name]
    first = float(np.mean(p.value)) if start is None else float(start)
    linear = name in ("poisson", "angle") or name.startswith("rest_curvature") or (first <= 0 and p.bounds.get("lower") is None)
    if name == "poisson":
        bounds = (0.0, 0.49 if p.bounds.get("upper", 1.0) <= 0.5 else 0.9)
        scale = "linear"
    elif linear:
        size = max(abs(first), 1.0)
        bounds, scale = (first - 10 * size, first + 10 * size), "linear"
    else:
        first = first if first > 0 else 1e-3
        bounds, scale = (first / WIDE, first * WIDE), "log"
        if name == "friction":
            bounds = (0.01, 3.0)
    low, high = (b if given is None else float(given) for b, given in zip(bounds, (lower, upper), strict=True))
    variable = Variable(name, float(np.clip(first, low, high)), low, high, scale, "" if p.unit == "-" else p.unit)
    if prior is None and name == "poisson":
        prior = SPREAD_LINEAR * (high - low)
    return Unknown(variable, PARAMETER, p.name, prior=prior)


def part_unknowns(scene: object, name: str, labels: np.ndarray, starts: np.ndarray | float | None = None) -> list[Unknown]:
    """One unknown for each part of a body: "young[0]", "young[1]", ...

    Args:
        scene: TwinScene.
        name: short name of a parameter with one value a cell.
        labels: part of each cell, from 0, of the parameter's shape.
        starts: one a part; None: the scene's own value.
    """
    whole = parameter_unknown(scene, name)
    shape = scene.parameters[name].shape
    labels = validation.array("labels", labels, shape, kind="i", lower=0)
    count = int(labels.max()) + 1
    first = np.broadcast_to(whole.variable.start if starts is None else starts, (count,))
    found = []
    for part in range(count):
        variable = replace(whole.variable, name=f"{name}[{part}]", start=float(first[part]))
        found.append(replace(whole, variable=variable, pattern=(labels == part).astype(float)))
    return found


def time_unknown() -> Unknown:
    """What is added to the cameras' times to get the handles' [s]."""
    variable = Variable("time_offset", 0.0, -OFFSET_MOST, OFFSET_MOST, "linear", "s")
    return Unknown(variable, TIME, prior=OFFSET_EXPECTED)


def pose_unknowns() -> list[Unknown]:
    """A turn and a shift that take what cameras saw to the handles' world."""
    found = []
    for i in range(6):
        name, unit, prior = ("turn", "rad", TURN_EXPECTED) if i < 3 else ("shift", "m", SHIFT_EXPECTED)
        variable = Variable(f"camera_{name}_{'xyz'[i % 3]}", 0.0, -20 * prior, 20 * prior, "linear", unit)
        found.append(Unknown(variable, POSE, index=i, prior=prior))
    return found


def gravity_unknowns() -> list[Unknown]:
    """Tilts of gravity about two axes across it [rad]."""
    variables = [Variable(f"gravity_tilt_{i}", 0.0, -1.0, 1.0, "linear", "rad") for i in (1, 2)]
    return [Unknown(v, GRAVITY, index=i, prior=TILT_EXPECTED) for i, v in enumerate(variables)]


def start_unknowns(ways: int, extent: float, speeds: bool = True) -> list[Unknown]:
    """Amplitudes of the ways along which the start's place and velocity are corrected: nuisances.

    Args:
        ways: their number.
        extent: of the body [m].
        speeds: whether the velocity is corrected, too.
    """
    place, found = PLACE_SHARE * extent, []
    for i in range(ways):
        variable = Variable(f"start_place_{i}", 0.0, -30 * place, 30 * place, "linear", "m")
        found.append(Unknown(variable, PLACE, index=i, prior=place, wanted=False))
    for i in range(ways if speeds else 0):
        variable = Variable(f"start_speed_{i}", 0.0, -30 * SPEED_EXPECTED, 30 * SPEED_EXPECTED, "linear", "m/s")
        found.append(Unknown(variable, SPEED, index=i, prior=SPEED_EXPECTED, wanted=False))
    return found


def default_unknowns(scene: object) -> list[Unknown]:
    """What is not known of a capture's body: stiffness, damping, Poisson's ratio of a solid, friction where it touches the ground.

    Mass is not among them: no motion under known handles tells it apart from stiffness.
    """
    known, there = scene.capture.known, scene.parameters
    # a rod given by stretch and bending is one of unknown thickness: it hardly stretches, and how little no frame shows
    left_out = ("stretch", "stretch_damping") if scene.soft_body.kind == "rod" and "bending" in there else ()
    names = [name for name in (*STIFFNESSES, *DAMPINGS) if name not in left_out]
    found = [parameter_unknown(scene, name) for name in names if _counts(there.get(name))]
    if "poisson" in there and known.poisson is None and scene.soft_body.kind == "solid":
        found.append(parameter_unknown(scene, "poisson"))
    if "friction" in there and known.friction is None:
        found.append(parameter_unknown(scene, "friction"))
    if "hold_stiffness" in there:
        found.append(parameter_unknown(scene, "hold_stiffness"))
    return found


def _counts(parameter):
    """Whether a parameter is there and does anything: a damping of 0 leaves its law out."""
    return parameter is not None and bool(np.all(np.asarray(parameter.value) > 0))


def chosen_unknowns(scene: object, unknowns: object) -> list[Unknown]:
    """Unknowns from what a caller may give: None, names, Unknowns, or a dict from name to a start, a Variable or an Unknown.

    Raises:
        InputError: a name that is not known, something else.
    """
    if unknowns is None:
        return default_unknowns(scene)
    named = [unknowns] if isinstance(unknowns, str) else unknowns
    entries = unknowns.items() if isinstance(unknowns, dict) else [(u, None) for u in named]
    found = []
    for key, value in entries:
        entry = value if isinstance(value, Unknown) else key
        if isinstance(entry, Unknown):
            found.append(entry)
        elif entry == "time_offset":
            found.append(time_unknown())
        elif entry == "camera_pose":
            found += pose_unknowns()
        elif entry == "gravity_direction":
            found += gravity_unknowns()
        elif isinstance(value, Variable):
            found.append(replace(parameter_unknown(scene, entry), variable=replace(value, name=entry)))
        else:
            found.append(parameter_unknown(scene, entry, value))
    names = [u.name for u in found]
    if not names or len(set(names)) != len(names):
        raise InputError(f"unknowns = {names}: there must be at least one, and no name twice")
    return found
