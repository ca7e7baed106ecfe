"""The loop that fits splats to pictures: steps, rounds, what is kept of them on disk."""

import hashlib
import json
import math
from dataclasses import asdict, fields

import numpy as np
import torch

from physsim.appearance.binding import Binding, RigidBinding
from physsim.appearance.carriers import carriage, usual_distance
from physsim.appearance.color import ColorNetwork, colors_and_residual
from physsim.appearance.exposure import Exposure, matched_exposure
from physsim.appearance.fit_options import FitOptions, Round
from physsim.appearance.frames import Frame, same_size_positions
from physsim.appearance.metrics import psnr
from physsim.appearance.picture_loss import LEAST_SIDE, Target, picture_loss
from physsim.appearance.raster import Raster, rasterize
from physsim.appearance.splats import Splats
from physsim.appearance.trainable import RATES, Pull, Trainable, grow, load_optimiser, optimiser_arrays, useless
from physsim.errors import InputError, SolverError
from physsim.io.arrays import load_arrays, save_arrays
from physsim.physics import validation
from physsim.physics.archive import pack_mesh
from physsim.physics.frames import RigidFrame
from physsim.physics.model import Body

LATENTS = 8
NETWORK_RATE = 1e-3
LAST_RATE = 0.05  # steps at the end, as a share of those at the start
# rounds this close to the best one [dB] are as good: the mean of a few pictures is not known better, and later steps are smaller
TIE = 0.25
GROWING = 0.5  # share of the iterations in which splats are added
KIND = "fit"  # of checkpoints
VIEWS, BACKGROUNDS, SPLITS = range(3)  # streams of random numbers


class Fitting:
    """A fit under way; arguments and errors as for `fit_appearance`.

    Attributes:
        finished: whether there is no round left.
        rounds: those done.
    """

    def __init__(self, splats: Splats, frames: list[Frame], body: object, network: ColorNetwork | None, options: FitOptions) -> None:
        validation.instance("splats", splats, Splats)
        splats.check()
        if len(splats) == 0:
            raise InputError("fit_appearance: no splats were given; make some by physsim.appearance.sources")
        self.options, self.device = options, splats.means.device
        self.mesh = body.mesh if isinstance(body, Body) else body
        self.reach = None if self.mesh is None else usual_distance(self.mesh)
        self.fitted, self.held_out = self._divided(frames)
        self.extent = float((splats.means - splats.means.mean(dim=0)).norm(dim=1).max().clamp(min=1e-9))
        self.degree = max(1, splats.degree) if options.degree is None else options.degree
        self.first_degree = min(splats.degree, self.degree)  # what is there counts at once
        self.most_splats = options.most_splats or 2 * len(splats)
        self.network = self._network(network, frames, splats.latents.shape[1])
        latents = self.network.latent_count if self.network is not None else splats.latents.shape[1]
        self.trainable = Trainable(splats, self.degree, latents, self.extent, {k: options.rate * v for k, v in RATES.items()})
        self.exposure = Exposure(len(self.fitted), self.device, options.rate) if options.exposure else None
        self.pull = Pull.zero(self.trainable)
        self.iteration, self.rounds, self.best, self.stopped_early = 0, [], None, False
        self._sums = [0.0, 0.0]
        self._told = self._fingerprint(frames, splats)
        self._bind()

    def _divided(self, frames: list[Frame]) -> tuple[list[Target], list[Target]]:
        """Frames that are fitted to, and those that are held out."""
        if not frames:
            raise InputError("fit_appearance: no frame was given; at least one picture with its camera is needed")
        for frame in frames:
            validation.instance("frames", frame, Frame)
            if min(frame.camera.width, frame.camera.height) < LEAST_SIDE:
                raise InputError(
                    f"{frame.name}: {frame.camera.width} x {frame.camera.height} pixels; at least {LEAST_SIDE} a side are needed"
                )
        if self.mesh is not None:
            same_size_positions(frames, len(self.mesh.points))
        elif any(frame.positions is not None for frame in frames):
            raise InputError("fit_appearance: frames have positions of particles, but no body was given; give body=")
        held = [self.options.holds_out(i) for i in range(len(frames))]
        if all(held):
            raise InputError(f"held_out = {self.options.held_out}: every frame would be held out; use 0 or at least 2")
        targets = [Target.of(frame, self.device) for frame in frames]
        return [t for t, out in zip(targets, held) if not out], [t for t, out in zip(targets, held) if out]

    def _network(self, network, frames, latent_count):
        wanted = self.options.network
        if wanted is None:
            wanted = network is not None or any(frame.positions is not None for frame in frames)
        if not wanted:
            self.network_optimiser = None
            return None
        if network is None:
            network = ColorNetwork(LATENTS, seed=self.options.seed)
        else:
            validation.instance("network", network, ColorNetwork)
            if latent_count not in (0, network.latent_count):
                text = f"network: it was made for {network.latent_count} latents a splat, and the splats have {latent_count}"
                raise InputError(f"{text}; give those that belong together")
            network = ColorNetwork.from_arrays(network.arrays())  # the given one stays as it is
        network = network.to(self.device)
        rate = self.options.rate * NETWORK_RATE
        groups = [{"params": [parameter], "lr": rate, "first": rate} for parameter in network.parameters()]
        self.network_optimiser = torch.optim.Adam(groups, eps=1e-15)
        return network

    def _optimisers(self):
        return [o for o in (self.trainable.optimiser, self.network_optimiser, self.exposure and self.exposure.optimiser) if o is not None]

    @property
    def finished(self) -> bool:
        """Whether there is no round left."""
        return self.stopped_early or self.iteration >= self.options.iterations

    @property
    def growing(self) -> bool:
        """Whether splats may still be added."""
        return self.options.densify and self.iteration <= GROWING * self.options.iterations

    def _random(self, stream: int, number: int) -> np.random.Generator:
        """Random numbers of one purpose and turn: nothing of a generator's state has to be kept."""
        return np.random.default_rng([self.options.seed, stream, number])

    def _bind(self) -> None:
        """Bind the splats where they are now; those that have left the body's surroundings go."""
        if self.mesh is None:
            self.binding = RigidBinding(_detached(self.trainable.splats()))
            return
        away = carriage(self.mesh, self.trainable.values["means"].detach().cpu().double().numpy()).away
        far = away > self.reach
        if far.all():
            raise InputError(f"fit_appearance: every splat lies more than {self.reach:.4g} m from the body; they must be in its rest shape")
        self._drop(torch.as_tensor(far, device=self.device))
        self.binding = Binding(_detached(self.trainable.splats()), self.mesh)

    def round(self) -> Round:
        """Go on by a round: steps, a look at the held-out pictures, other splats."""
        options = self.options
        end = min(self.iteration + options.round_length, options.iterations)
        squares, losses = [], []
        while self.iteration < end:
            loss, square = self._step()
            squares.append(square)
            losses.append(loss)
            self.iteration += 1
        self._bind()
        held_out = self._held_out_psnr()
        seen = -10.0 * torch.log10(torch.stack(squares).clamp(min=1e-12)).mean()
        if not math.isfinite(float(torch.stack(losses).sum())):
            raise SolverError(f"fit_appearance: the loss turned NaN before iteration {self.iteration}; a smaller rate may help")
        done = Round(self.iteration, options.iterations, float(torch.stack(losses).mean()), float(seen), held_out, len(self.trainable))
        self.rounds.append(done)
        self._judge(done)
        if self.growing and not self.finished:
            self._grow()
        return done

    def _step(self) -> tuple[torch.Tensor, torch.Tensor]:
        """One picture, one step."""
        options, count = self.options, len(self.fitted)
        epoch, turn = divmod(self.iteration, count)
        which = int(self._random(VIEWS, epoch).permutation(count)[turn])
        target = self.fitted[which]
        progress = self.iteration / options.iterations
        for optimiser in self._optimisers():
            for group in optimiser.param_groups:
                group["lr"] = group["first"] * LAST_RATE**progress
            optimiser.zero_grad()
        splats = self.trainable.splats(max(self.first_degree, min(self.degree, int(progress * (self.degree + 1)))))
        raster, residual = draw_splats(splats, self.binding, self.network, target.frame.camera, target.eye, target.positions)
        behind = options.background
        if target.mask is not None:  # what is let through must not pass for the body's colour
            behind = self._random(BACKGROUNDS, self.iteration).uniform(size=3)
        colour = raster.features if self.exposure is None else self.exposure.apply(which, raster.features, raster.alpha)
        behind = torch.as_tensor(behind, dtype=torch.float32, device=self.device)
        loss, square = picture_loss(target, colour, raster.alpha, behind, options.dssim, options.mask)
        total = loss if residual is None else loss + options.residual * (residual**2).mean()
        if total.requires_grad:
            total.backward()
        if self.growing:
            self.pull.add(raster, target.frame.camera.width)
        self.trainable.optimiser.step()
        if self.network_optimiser is not None:
            self.network_optimiser.step()
        if self.exposure is not None:
            self.exposure.step()
        return loss.detach(), square

    def _held_out_psnr(self) -> float | None:
        if not self.held_out:
            return None
        with torch.no_grad():
            splats, values = self.trainable.splats(), []
            background = torch.tensor(self.options.background, device=self.device)
            for target in self.held_out:
                raster, _ = draw_splats(splats, self.binding, self.network, target.frame.camera, target.eye, target.positions)
                shown, reference = target.pair(raster.features, raster.alpha, background)
                if self.exposure is not None:
                    shown = matched_exposure(shown, reference, raster.alpha > 0.5)
                values.append(psnr(shown, reference))
            return float(torch.stack(values).clamp(max=120.0).mean())

    def _judge(self, done: Round) -> None:
        """Keep the best round, the latest of those that are as good, and end where none has been for long."""
        if done.held_out is None:
            return
        if done.held_out >= max(r.held_out for r in self.rounds) - TIE:
            self.best = (len(self.rounds) - 1, self._found())
        since = len(self.rounds) - 1 - self.best[0]
        self.stopped_early = since >= self.options.patience and not self.growing

    def _found(self):
        """Splats, labels and network as arrays."""
        arrays = {f"values/{name}": value.detach().cpu().numpy().copy() for name, value in self.trainable.values.items()}
        arrays["labels"] = self.trainable.labels.cpu().numpy().copy()
        if self.network is not None:
            arrays |= {f"network/{name}": value for name, value in self.network.arrays().items()}
        return arrays

    def _drop(self, gone: torch.Tensor) -> None:
        """Take splats away, but never all."""
        if gone.any() and not gone.all():
            kept = ~gone
            self.trainable.rebuild(kept.nonzero()[:, 0], gone.new_zeros(int(kept.sum())))
            self.pull = Pull(self.pull.total[kept], self.pull.count[kept])

    def _grow(self) -> None:
        options = self.options
        self._drop(useless(self.trainable, options.least_opacity, options.large * self.extent))
        rng = self._random(SPLITS, self.iteration)
        grow(self.trainable, self.pull, options.least_pull, options.small * self.extent, self.most_splats, rng)
        self.pull = Pull.zero(self.trainable)  # before those that were thrown out of the body's surroundings go
        self._bind()

    def save(self, path) -> None:
        """Write everything that `restore` needs; a kill leaves the file of the round before, or this one."""
        told = {
            "iteration": self.iteration,
            "stopped": self.stopped_early,
            "rounds": [asdict(r) for r in self.rounds],
            "best": None if self.best is None else self.best[0],
        }
        arrays = {f"now/{name}": value for name, value in self.trainable.arrays().items()}
        if self.network is not None:
            arrays |= {f"now/network/{name}": value for name, value in self.network.arrays().items()}
            arrays |= {f"now/{name}": value for name, value in optimiser_arrays(self.network_optimiser, self._weights()).items()}
        if self.exposure is not None:
            arrays |= {f"now/{name}": value for name, value in self.exposure.arrays().items()}
        if self.best is not None:
            arrays |= {f"best/{name}": value for name, value in self.best[1].items()}
        words = {"told": json.dumps(told), "of": self._told}
        save_arrays(path, KIND, arrays | {name: np.frombuffer(text.encode(), np.uint8) for name, text in words.items()})

    def _weights(self):
        return [f"network/{name}" for name, _ in self.network.named_parameters()]

    def restore(self, path) -> None:
        """Go on from what `save` wrote.

        Raises:
            InputError: no such file, a damaged one, or one of another fit.
        """
        arrays = load_arrays(path, KIND)
        if "of" not in arrays or arrays["of"].astype(np.uint8).tobytes().decode(errors="replace") != self._told:
            raise InputError(
                f"{path}: it is of a fit with other pictures, splats or options, or of another body; delete it, or give those again"
            )
        try:
            told = json.loads(arrays["told"].astype(np.uint8).tobytes())
            now = {name[4:]: value for name, value in arrays.items() if name.startswith("now/")}
            self.trainable.load(now)
            if self.network is not None:
                values = {name[8:]: value for name, value in now.items() if name.startswith("network/")}
                with torch.no_grad():
                    for name, parameter in self.network.named_parameters():
                        parameter.copy_(torch.as_tensor(values[name]))
                load_optimiser(self.network_optimiser, self._weights(), now)
            if self.exposure is not None:
                self.exposure.load(now)
            self.iteration, self.stopped_early = int(told["iteration"]), bool(told["stopped"])
            self.rounds = [Round(**r) for r in told["rounds"]]
            best = {name[5:]: value for name, value in arrays.items() if name.startswith("best/")}
            self.best = None if told["best"] is None else (int(told["best"]), best)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"{path}: a damaged checkpoint ({error}); delete it") from None
        self.pull = Pull.zero(self.trainable)
        self._bind()

    def _fingerprint(self, frames, splats) -> str:
        """What the fit is of: a checkpoint of another one must not be gone on from."""
        digest = hashlib.sha256(json.dumps(asdict(self.options)).encode())
        network = [] if self.network is None else list(self.network.arrays().values())
        facts, mesh = _rest_shape(self.mesh)
        digest.update(json.dumps(facts, sort_keys=True).encode())
        given = [splats.means, splats.scales, splats.rotations, splats.opacities, splats.harmonics, splats.latents, splats.labels]
        for frame in frames:
            digest.update(json.dumps([frame.camera.to_dict(), frame.matte]).encode())
            given += [part for part in (frame.image, frame.mask, frame.positions) if part is not None]
        for array in [*network, *mesh.values(), *(part.detach().cpu().numpy() for part in given)]:
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def result(self) -> tuple[Splats, ColorNetwork | None, int]:
        """Splats, network and the round that they are of: the best one on held-out pictures, or the last."""
        index, arrays = self.best or (len(self.rounds) - 1, self._found())
        self.trainable.load(arrays)
        network = self.network
        if network is not None:
            network = ColorNetwork.from_arrays({k[8:]: v for k, v in arrays.items() if k.startswith("network/")}).to(self.device)
        return _detached(self.trainable.splats()), network, index


def _detached(splats: Splats) -> Splats:
    return Splats(**{f.name: getattr(splats, f.name).detach() for f in fields(splats)})


def _rest_shape(mesh) -> tuple[dict, dict]:
    """Facts and arrays that tell a body at rest from every other: points alone do not say how they are joined."""
    if mesh is None:
        return {}, {}
    if isinstance(mesh, RigidFrame):
        return {"kind": "frame"}, {"points": mesh.points}
    return pack_mesh(mesh)


def draw_splats(splats, binding, network, camera, eye, positions) -> tuple[Raster, torch.Tensor | None]:
    """Splats in a pose as a camera sees them, over black, and the network's residual."""
    if isinstance(binding, RigidBinding):
        unit = torch.eye(3, device=splats.means.device)
        posed = binding.pose(unit, unit.new_zeros(3), splats)
    else:
        posed = binding.pose(binding.rest() if positions is None else positions, splats)
    colours, residual = colors_and_residual(splats, posed, eye, network)
    return rasterize(posed.means, posed.factors, splats.opacities, colours, camera), residual
