"""The benchmark's cases: what is simulated for one second, and what of it is compared; and what is drawn."""

from dataclasses import dataclass, replace

from physsim.errors import InputError

FRAMES = 60
"""Heights are sampled at 1/60, 2/60, ... 1 s."""


@dataclass(frozen=True)
class Case:
    """One row of work, the same for every engine."""

    name: str
    kind: str
    """'cloth' (a net of springs; lowest point's z is compared), 'shell' (a sheet of triangles; the same), 'beam' (the tip's mean z) or
    'gradient' (a cloth; see `gradient_of`). Things touch in a 'touch-cloth' (a shell dropped on a sphere), a 'touch-pile' (of soft cubes),
    a 'grasp' (by a robot, see `physsim.grasp`) and 'environments' (soft cubes that moving fingers lift, side by side). A 'render'
    draws splats, with their gradient; a 'film' is a cloth that is simulated and drawn as splats, with the gradient of its picture.
    'capture-gradient' is the gradient of a capture's track loss by every spring of a net, 'capture-touch' by every triangle of a
    sheet that comes down to a floor."""
    size: int
    """Particles along a cloth's or a net's edge, tetrahedra of a beam, boxes along a cube's edge, environments, or splats."""
    stiffness: float | None
    """Spring constant [N/m] of a cloth, Young's modulus times thickness [N/m] of a shell, Young's modulus [Pa] of solids; None: nothing is
    simulated."""
    damping: float = 0.0
    """Spring damping [N s/m]; bend springs have the share of it that they have of the stiffness."""
    gradient_of: str | None = None
    """For a gradient: the cloth case whose largest good step is used. The height is the mean z of all particles at 1 s."""
    pixels: int = 0
    """Along the edge of the image that a 'render' or a 'film' draws."""
    splats: int = 0
    """On the cloth of a 'film'."""

    @property
    def size_label(self) -> str:
        """The size as a table shows it, such as '32x32' or '4000'."""
        if self.kind == "render":
            return f"{self.size} at {self.pixels}x{self.pixels}"
        if self.kind == "film":
            return f"{self.size}x{self.size}, {self.splats} at {self.pixels}x{self.pixels}"
        return f"{self.size}x{self.size}" if self.kind in ("cloth", "shell", "gradient", "touch-cloth", *CAPTURED) else str(self.size)

    @property
    def touches(self) -> bool:
        """Whether things touch. An engine then runs at its own step (`Engine.touch_substeps`): piles have no limit to halve towards."""
        return self.kind in TOUCH

    def miniature(self) -> "Case":
        """The same work on a tiny body: what an engine imports and compiles for it is what it needs for the real one."""
        return replace(self, size={"beam": 40, "touch-pile": 1, "environments": 1, "render": 100}.get(self.kind, 6))


CLOTH_DAMPING = 0.01
"""Damping of a structural spring [N s/m]: one per cent of the critical one for a particle on one spring at 1,000 N/m."""

TOUCH = ("touch-cloth", "touch-pile", "grasp", "environments")

DRAWN = ("render", "film")

CAPTURED = ("capture-gradient", "capture-touch")

SIDES = (32, 64, 128)

CASES = (
    *(Case(f"cloth-{side}-{k:.0f}", "cloth", side, k, CLOTH_DAMPING) for side in SIDES for k in (1.0e3, 1.0e4, 1.0e5)),
    *(Case(f"shell-{side}-{k:.0f}", "shell", side, k) for side in SIDES for k in (1.0e3, 1.0e5)),
    *(Case(f"beam-{size}", "beam", size, 1.0e6) for size in (500, 4000, 20000)),
    *(Case(f"gradient-{n}-1000", "gradient", n, 1.0e3, CLOTH_DAMPING, gradient_of=f"cloth-{n}-1000") for n in (32, 64)),
    Case("touch-cloth-sphere", "touch-cloth", 64, 1.0e3),
    Case("touch-pile", "touch-pile", 3, 5.0e4),
    *(Case(f"grasp-{name}", "grasp", 1, 5.0e4) for name in ("cube", "plush", "cloth")),
    *(Case(f"grasp-environments-{count}", "environments", count, 5.0e4) for count in (1, 16, 64)),
    *(Case(f"render-{n}-{p}", "render", n, None, pixels=p) for n in (2000, 10000, 50000) for p in (128, 256, 512)),
    Case("film-gradient", "film", 32, 1.0e3, CLOTH_DAMPING, pixels=128, splats=5000),
    Case("capture-gradient", "capture-gradient", 32, 1.0e3, 0.05),
    Case("capture-touch", "capture-touch", 32, 1.0e3),
)


def case_named(name: str) -> Case:
    """Return the case called `name`.

    Raises:
        InputError: no case has that name; the message lists those that exist.
    """
    for case in CASES:
        if case.name == name:
            return case
    raise InputError(f"case = {name!r}: no such benchmark case; choose from {', '.join(c.name for c in CASES)}")


def cases_to_run(name: str | None) -> tuple[Case, ...]:
    """Return every case, or the one called `name`, or else those whose names begin with it ('cloth', 'cloth-64', 'beam').

    Raises:
        InputError: no case's name is or begins so.
    """
    if name is None:
        return CASES
    if any(case.name == name for case in CASES):
        return (case_named(name),)
    return (name and tuple(case for case in CASES if case.name.startswith(name))) or (case_named(name),)
