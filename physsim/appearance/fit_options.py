"""How splats are fitted to pictures, and what a round of fitting leaves to say."""

from dataclasses import dataclass

from physsim.physics import validation


@dataclass(frozen=True)
class FitOptions:
    """How splats are fitted.

    Args:
        iterations: pictures that are looked at, one an iteration.
        round_length: iterations between two looks at the held-out pictures; splats grow and checkpoints are written then.
        most_splats: their number is let grow so far; None: twice as many as at the start.
        densify: whether splats are cloned and split where the pictures ask for it.
        degree: of the spherical harmonics; each degree joins after a further equal share of the iterations. None: the splats' own, at
            least 1.
        held_out: one picture in so many is held out, beginning with the last of them; 0: none.
        patience: rounds after which it ends, once splats have ceased to grow, if none of them came within 0.25 dB of the best mean PSNR of
            the held-out pictures.
        network: whether a colour network is fitted too; None: where there is one or pictures show the body deformed.
        exposure: whether each picture has a gain and an offset of its own.
        background: colour behind the body in pictures without mask, shape [3].
        dssim: weight of structure against absolute differences, in [0, 1].
        mask: weight of coverage against masks.
        residual: weight of the mean square of the network's residual, which keeps it from explaining what constant colours can.
        least_pull: mean gradient of a centre, in half images' widths, from which on splats are too few there.
        small: share of the body's extent [-] from which on a splat is split, not cloned.
        large: share of the body's extent [-] from which on a splat is taken away.
        least_opacity: below which a splat is taken away.
        rate: factor on all steps.
        seed: of everything that is drawn; the same seed gives the same result on the same machine.

    Raises:
        InputError: a number out of range.
    """

    iterations: int = 1500
    round_length: int = 100
    most_splats: int | None = None
    densify: bool = True
    degree: int | None = None
    held_out: int = 8
    patience: int = 8
    network: bool | None = None
    exposure: bool = False
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    dssim: float = 0.2
    mask: float = 0.5
    residual: float = 0.01
    least_pull: float = 2e-4
    small: float = 0.01
    large: float = 0.3
    least_opacity: float = 0.02
    rate: float = 8.0
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {"iterations": 1, "round_length": 1, "held_out": 0, "patience": 1, "seed": 0, "degree": 0, "most_splats": 1}
        for name, lower in counts.items():
            if getattr(self, name) is not None or name not in ("degree", "most_splats"):
                upper = 3 if name == "degree" else 2**31 - 1
                object.__setattr__(self, name, int(validation.array(name, getattr(self, name), (), kind="i", lower=lower, upper=upper)))
        shares = {"dssim": 1.0, "mask": None, "residual": None, "least_pull": None, "small": None, "large": None, "least_opacity": 1.0}
        for name, upper in (shares | {"rate": None}).items():
            object.__setattr__(self, name, float(validation.array(name, getattr(self, name), (), lower=0.0, upper=upper)))
        background = validation.array("background", self.background, (3,), lower=0.0, upper=1.0)
        object.__setattr__(self, "background", tuple(background.tolist()))

    def holds_out(self, frame: int) -> bool:
        """Whether the frame of this index is held out."""
        return self.held_out > 0 and frame % self.held_out == self.held_out - 1


@dataclass(frozen=True)
class Round:
    """How a fit stands after a round.

    Attributes:
        iteration: iterations done.
        iterations: that there will be, unless it ends early.
        loss: mean over the round.
        psnr: of the pictures fitted to, over the round [dB].
        held_out: mean PSNR of the held-out pictures [dB], or None.
        splats: their number.
    """

    iteration: int
    iterations: int
    loss: float
    psnr: float
    held_out: float | None
    splats: int
