"""From laws on stencils to sums on particles and a block-sparse matrix, for many environments at once.

An Assembly owns the working arrays of a solve: nothing in it is a user's state. Sums are taken in a fixed order. Forward, reverse and
tangent passes stand in one class because they run over the same stencils, maps and recorded launches.
"""

import numpy as np
import warp as wp

from physsim.kernels.reduction import CHUNK, NO_ENTRY, reduction_kernels
from physsim.physics.contact.entries import Entries
from physsim.physics.contact.scene import TABLE
from physsim.physics.launch import Copies, HostView, Launcher, Program
from physsim.physics.laws import SCALARS
from physsim.physics.parameters import pull_back, scatter
from physsim.physics.pattern import build_pattern
from physsim.physics.stepping import Stepping

COMMANDS = 256  # recorded launches that an assembly keeps; a step and its gradient need about fifty
# relative size of the tangent's differences: rounding and the fourth-order error weigh about the same
DIFFERENCE = {"float64": 1e-3, "float32": 5e-2}
# [us] of a law's kernels for a stencil, over its points squared; measured: springs, tetrahedra and sheets lie between a third and
# one and a half of it
COST = {"evaluate": 0.02, "blocks": 0.04, "product": 0.05, "adjoint": 0.05, "tangent": 0.1}


class Assembly:
    """Working arrays and recorded launches for one model.

    Arrays [envs, n] of 3-vectors: `x` (trial positions), `x1`, `x2` (old ones), `predictor`, `target`, `rest`, `gradient`,
    `direction`. `active[env]` = 0 leaves an environment untouched. `values` holds the matrix's 3 x 4 blocks.
    """

    def __init__(self, model, block_dtype="float32"):
        self.model = model
        self.block_dtype = block_dtype
        self.launcher = Launcher(model.device, model.envs)
        self._commands, self._programs = {}, {}
        self._partials = {}
        self._parameters = None
        self._column_shapes = model.column_shapes
        self._changed = False
        self.inertia = [b.law.name for b in model.blocks].index("inertia")  # the block that every model has
        self.matrix_version = 0  # counts the matrices that were assembled
        real = SCALARS[model.dtype]
        self._vec3 = wp.types.vector(3, real)
        self._real = real
        self.kernels = reduction_kernels_for(model.dtype, block_dtype)
        self._allocate()
        self.stepping = Stepping(self)
        self.step = (0.0, 1.0, 0.0)
        self.entries = Entries(model.device, model.envs, block_dtype)
        self.contact = None
        if model.contact is not None:
            from physsim.physics.contact.contact import Contact

            self.contact = Contact(self)
        self.set_parameters(model.parameters)
        self._changed = True  # for the solver's first call

    def _allocate(self):
        model = self.model
        shape = (model.envs, model.particle_count)
        for name in ("x", "x1", "x2", "predictor", "target", "gradient", "direction", "trial"):
            setattr(self, name, self.vectors(shape))
        self.rest = model.vectors(model.expand("rest", model.rest))
        posed = not np.array_equal(model.positions, model.rest)
        self.start = model.vectors(model.expand("positions", model.positions)) if posed else self.rest  # where things were attached
        self.base_x = self.vectors(shape)
        self._active = _EnvArray(model, int)
        self._project = _EnvArray(model, int)
        self._project_pairs = _EnvArray(model, int)
        self.active, self.project, self.project_pairs = (a.array for a in (self._active, self._project, self._project_pairs))
        self.set_active(True)
        self.free = self._array(model.free, int)
        self._alpha = _EnvArray(model, self._real)
        self._beta = _EnvArray(model, self._real)
        self.stencils = [self._array(b.stencil, int, ndim=2) for b in model.blocks]
        self._shared_stencils = [_same_for_all(s, model.envs) for s in self.stencils]
        sizes = [b.stencil.size for b in model.blocks]
        counts = [len(b.stencil) for b in model.blocks]
        self.share_offsets = np.concatenate([[0], np.cumsum(sizes)])
        self.element_offsets = np.concatenate([[0], np.cumsum(counts)])
        self.shares = self.vectors((model.envs, int(self.share_offsets[-1])))
        energy_shape = (model.envs, int(self.element_offsets[-1]))
        self.energy = wp.zeros(energy_shape, dtype=wp.float64, device=model.device)
        self.base_energy = wp.zeros(energy_shape, dtype=wp.float64, device=model.device)
        self._keep = Copies((self.base_x, self.x), (self.base_energy, self.energy))
        self.read_shares, self.read_gradient = HostView(self.shares), HostView(self.gradient)
        self._share_maps = {}
        self.pattern = None

    def vectors(self, shape):
        """Zeroed device array of 3-vectors."""
        return wp.zeros(shape, dtype=self._vec3, device=self.model.device)

    def _array(self, value, dtype, ndim=1):
        return wp.array(np.ascontiguousarray(value), dtype=dtype, device=self.model.device, ndim=ndim)

    def set_parameters(self, parameters):
        """Put a ParameterSet on the device; returns whether it is another one than at the last call by a solver."""
        if parameters is self._parameters:
            changed, self._changed = self._changed, False
            return changed
        columns = parameters.columns(self._column_shapes)
        if self._parameters is None:
            self.parameters = [self._columns_array(columns[b.law.name]) for b in self.model.blocks]
            on_host = wp.get_device(self.model.device).is_cpu
            self._parameter_views = [array.numpy() if on_host else None for array in self.parameters]
        else:
            for array, view, block in zip(self.parameters, self._parameter_views, self.model.blocks, strict=True):
                values = columns[block.law.name]
                if values is self._columns[block.law.name]:
                    continue
                if view is not None and view.shape == values.shape:  # drives change in every step
                    view[...] = values
                else:
                    array.assign(self._columns_array(values))
        if self.contact is not None and (self._parameters is None or columns[TABLE] is not self._columns[TABLE]):
            self.contact.set_table(columns[TABLE])
        self._columns = dict(columns)
        self._parameters = parameters
        return True

    def _columns_array(self, values):
        dtype = wp.types.vector(values.shape[-1], self._real)
        return wp.array(np.ascontiguousarray(values), dtype=dtype, device=self.model.device, shape=values.shape[:-1])

    def per_environment(self, dtype, shape=()):
        """A few numbers an environment, with `set` and `get` on the host and `array` on the device."""
        return _EnvArray(self.model, dtype, shape)

    def particle_masses(self):
        """Masses [kg], shape [envs, n]."""
        return self.parameters[self.inertia].numpy()[..., 0]

    def set_active(self, mask):
        """Environments that kernels work on: True for all, or a mask [envs]."""
        self._active.set(mask)

    def active_mask(self):
        """The mask that `set_active` was given, [envs] bool."""
        return self._active.get() != 0

    def set_project(self, mask, pairs=None):
        """Which matrix each environment's blocks make (`project` of a law's Hessian): False or 0 exact, 1 projected, 2 lagged; [envs].

        `pairs`: the same of the blocks of pairs in contact; None: as the others.
        """
        self._project.set(mask)
        self._project_pairs.set(mask if pairs is None else pairs)

    def set_step(self, rate, a, b):
        """Step coefficients (r, a, b) of the laws; see `physsim.kernels.laws`."""
        if (rate, a, b) == self.step:
            return
        self.step = (rate, a, b)
        for (name, *_), command in self._commands.items():
            if name in ("evaluate", "blocks", "product", "adjoint", "tangent"):
                command.set(1, self._vec3(rate, a, b))

    def _reference(self, block):
        return {"rest": self.rest, "target": self.target, "predictor": self.predictor}[block.law.reference]

    def _command(self, key, build):
        if key not in self._commands:
            if len(self._commands) >= COMMANDS:  # arrays of past gradients and fits are not kept alive for ever
                del self._commands[next(iter(self._commands))]
                self._programs.clear()  # `set_step` knows commands only as long as they are kept
            self._commands[key] = build()
        return self._commands[key]

    def _run(self, key, commands):
        """Launch the commands that a call of `commands` gives, the same at every call with this key."""
        program = self._programs.get(key)
        if program is None:
            made = Program(commands())  # which may clear the others
            program = self._programs[key] = made
        program()

    def _state_arguments(self, i):
        reference = self._reference(self.model.blocks[i])
        return [self._shared_stencils[i], self.parameters[i], self.x, self.x1, self.x2, reference]

    def _law(self, name, i, *arguments):
        block = self.model.blocks[i]
        kernel = block.law.kernels(self.model.dtype, self.block_dtype)[name]
        step = self._vec3(*self.step)
        head = [self.active, step] + ([self.project] if name == "blocks" else [])
        weight = COST[name] * block.law.points**2
        return self.launcher.record(kernel, len(block.stencil), *head, *self._state_arguments(i), *arguments, weight=weight)

    def evaluate(self):
        """Energies of all stencils and the gradient at `x`, into `energy` and `gradient`."""
        self._run("evaluate", self._evaluation)
        if self.contact is not None:
            self.contact.evaluate()

    def _evaluation(self):
        commands = []
        for i in range(len(self.model.blocks)):
            offsets = int(self.element_offsets[i]), int(self.share_offsets[i])
            build = lambda i=i, o=offsets: self._law("evaluate", i, *o, self.energy, self.shares)  # noqa: E731
            commands.append(self._command(("evaluate", i), build))
        return [*commands, self._gathering(self.shares, self.gradient, "all")]

    def place(self, x):
        """Put a step's solution into `x`, whose old states are known already."""
        wp.copy(self.x, x)
        if self.contact is not None:
            self.contact.place()

    def gather(self, shares, out, kind):
        """Sum shares on particles; `kind` is "all", "history" (laws with a history) or a reference ("rest", ...)."""
        self._gathering(shares, out, kind)()

    def _gathering(self, shares, out, kind):
        offsets, slots = self._share_map(kind)
        n = self.model.particle_count
        key = ("gather", shares.ptr, out.ptr, kind)
        kernel, weight = self.kernels["gather"], 0.003 * slots.size / n
        return self._command(key, lambda: self.launcher.record(kernel, n, self.active, offsets, slots, shares, out, weight=weight))

    def _share_map(self, kind):
        if kind not in self._share_maps:
            particles, slots = [], []
            for i, block in enumerate(self.model.blocks):
                if kind in ("all", block.law.reference) or (kind == "history" and block.law.history):
                    particles.append(block.stencil.ravel())
                    slots.append(np.arange(self.share_offsets[i], self.share_offsets[i + 1]))
            particles = np.concatenate(particles) if particles else np.zeros(0, int)
            slots = np.concatenate(slots) if slots else np.zeros(0, int)
            order = np.argsort(particles, kind="stable")
            offsets = np.searchsorted(particles[order], np.arange(self.model.particle_count + 1))
            self._share_maps[kind] = self._array(offsets, int), self._array(slots[order], int)
        return self._share_maps[kind]

    def assemble(self, shift=0.0, constant=False, kept=None):
        """Matrix blocks at `x` (exact, or projected where `project[env]` is not 0) into `values`.

        Args:
            shift: multiple of the masses added to the diagonal [1/s^2], one or one an environment.
            constant, kept: as `assemble_blocks`.
        """
        self.assemble_blocks(constant, kept)
        self.sum_blocks(shift)

    def assemble_blocks(self, constant=False, kept=None):
        """The first half of `assemble`: the stencils' blocks.

        Args:
            constant: whether the blocks of laws with a constant matrix stand there already, for these parameters and this step.
            kept: environments where those of all laws but contact's stay as they are, a mask [envs]; None: nowhere.
        """
        self.require_pattern()
        asked = self.active_mask().copy() if kept is not None and kept.any() else None
        if asked is not None:
            self.set_active(asked & ~kept)
        if asked is None or (asked & ~kept).any():
            self._run(("blocks", constant), lambda: self._block_commands(constant))
        if asked is not None:
            self.set_active(asked)
        if self.contact is not None:
            self.contact.assemble_blocks()

    def _block_commands(self, constant):
        which = [i for i, b in enumerate(self.model.blocks) if not (constant and b.law.constant)]
        build = lambda i: self._law("blocks", i, int(self._block_offsets[i]), self._blocks)  # noqa: E731
        return [self._command(("blocks", i), lambda i=i: build(i)) for i in which]

    def sum_blocks(self, shift=None):
        """The second half: `values` from the same blocks with another shift; None: with what stands in the device array `shift`."""
        if shift is not None:
            self._shift.set(shift)
        self.matrix_version += 1
        tail = [self._blocks, self.model.particle_count, self.shift, self._masses, self.values]
        self._command(("assemble",), lambda: self._record_sum(tail))()
        if self.contact is not None:
            self.contact.add_blocks()

    def _record_sum(self, tail):
        if self._serial:
            counts = [self._blocks.shape[1], self.values.shape[1]]
            arguments = [*counts, self._value_offsets, self._block_entries, *tail]
            return self.launcher.record(self.kernels["scatter"], 1, self.active, *arguments, weight=0.01 * counts[0])
        arguments = [self._value_offsets, self._value_slots, *tail]
        return self.launcher.record(self.kernels["assemble"], self.values.shape[1], self.active, *arguments, weight=0.02)

    def require_pattern(self, pattern=None):
        """Build the pattern (or take the one given) and the matrix's arrays where a solve needs them."""
        if self.pattern is not None:
            return
        model = self.model
        self.pattern = pattern or build_pattern(model)
        pairs = [len(b.stencil) * b.law.points * (b.law.points + 1) // 2 for b in model.blocks]
        self._block_offsets = np.concatenate([[0], np.cumsum(pairs)])
        Block = wp.types.matrix((3, 4), SCALARS[self.block_dtype])
        self._blocks = wp.zeros((model.envs, sum(pairs)), dtype=Block, device=model.device)
        entries = len(self.pattern.offsets) - 1
        self.values = wp.zeros((model.envs, entries), dtype=Block, device=model.device)
        self._shift = _EnvArray(model, self._real)
        self.shift = self._shift.array
        self._masses = self.parameters[self.inertia]
        self._value_offsets = self._array(self.pattern.offsets, int)
        self._serial = wp.get_device(model.device).is_cpu  # blocks in order of memory; with threads for each entry elsewhere
        self.lower_pattern = self._array(self.pattern.row_begin, int), self._array(self.pattern.columns, int)
        self._block_entries = self._array(self.pattern.entries(sum(pairs), int(NO_ENTRY)), int)
        self._value_slots = self._array(self.pattern.slots, int)

    def product(self, direction, out):
        """Exact Hessian at `x` times `direction`, into `out` (all particles, the fixed ones too)."""
        for i in range(len(self.model.blocks)):
            key = ("product", i, direction.ptr)
            offset = int(self.share_offsets[i])
            self._command(key, lambda i=i, o=offset: self._law("product", i, direction, o, self._product_shares()))()
        self.gather(self._product_shares(), out, "all")
        if self.contact is not None:
            self.contact.product(direction, out)

    def multiply(self, direction, out):
        """Assembled matrix times `direction`, into `out`; the exact Hessian where `assemble` made it so at this `x`."""
        if not hasattr(self, "_full_pattern"):
            rows, columns, slots = self.pattern.full(self.model.particle_count)
            begin = np.searchsorted(rows, np.arange(self.model.particle_count + 1))
            self._full_pattern = [self._array(a, int) for a in (begin, columns, slots)]
        key = ("multiply", direction.ptr, out.ptr)
        kernel, n = self.kernels["multiply"], self.model.particle_count
        self._command(key, lambda: self.launcher.record(kernel, n, self.active, *self._full_pattern, self.values, direction, out))()

    def _product_shares(self):
        if not hasattr(self, "_shares_of_product"):
            self._shares_of_product = self.vectors(self.shares.shape)
        return self._shares_of_product

    def begin_adjoint(self):
        """Zero the accumulated gradients of the laws' columns."""
        if not hasattr(self, "column_gradients"):
            self.column_gradients = [wp.zeros_like(p) for p in self.parameters]
            names = ("x", "x1", "x2", "reference")
            self._adjoint_shares = {name: self.vectors(self.shares.shape) for name in names}
        for g in self.column_gradients:
            g.zero_()
        if self.contact is not None:
            self.contact.begin_adjoint()

    def adjoint(self, direction, out):
        """Pull -direction back through the gradient at `x`.

        Args:
            direction: lambda, device array [envs, n].
            out: dict of device arrays to fill: "x" (minus the exact Hessian times lambda), "x1", "x2", "predictor", "target",
                "rest"; keys may be missing.

        The columns' gradients are added to `column_gradients`.
        """
        shares = self._adjoint_shares
        scale = self._real(-1.0)
        for i in range(len(self.model.blocks)):
            key = ("adjoint", i, direction.ptr)
            rest = [direction, scale, int(self.share_offsets[i])]
            rest += [shares["x"], shares["x1"], shares["x2"], shares["reference"], self.column_gradients[i]]
            self._command(key, lambda i=i, rest=rest: self._law("adjoint", i, *rest))()
        for name, array in out.items():
            kind = {"x": "all", "x1": "history", "x2": "history"}.get(name, name)
            source = shares.get(name, shares["reference"])
            self.gather(source, array, kind)
            self.combine(array, -1.0, array, 0.0, array, fixed=True)
        if self.contact is not None:
            self.contact.adjoint(direction, out)

    def parameter_gradients(self):
        """Gradients of every parameter from `column_gradients`: dict name -> float64 [envs, *shape]."""
        gradients = {b.law.name: g.numpy() for b, g in zip(self.model.blocks, self.column_gradients, strict=True)}
        if self.contact is not None:
            gradients[TABLE] = self.contact.table_gradient()
        parameters = self._parameters._parameters
        return {name: pull_back(p, gradients) for name, p in parameters.items()}

    def set_tangents(self, values):
        """Columns' tangents on the device.

        Args:
            values: dict parameter name -> [directions, envs, *shape]; other parameters do not move.
        """
        parameters = self._parameters._parameters
        count = len(next(iter(values.values()))) if values else 1
        rows = []
        for d in range(count):
            tangent = {name: np.asarray(v[d], dtype=np.float64) for name, v in values.items()}
            rows.append(scatter(parameters, tangent, self.model.column_shapes, self.model.envs))
        if self.contact is not None:
            self.contact.set_tangents(np.stack([row[TABLE] for row in rows]))
        for block in self.model.blocks:
            stacked = np.stack([row[block.law.name] for row in rows])
            key = f"_tangent_{block.law.name}"
            array = self._columns_array(stacked)
            old = getattr(self, key, None)
            if old is not None and old.shape == array.shape:
                old.assign(array)
            else:
                setattr(self, key, array)

    def column_tangents(self, law):
        """What `set_tangents` put on the device for a law, numpy [directions, envs, stencils, parameters]."""
        return getattr(self, f"_tangent_{law}").numpy()

    def tangent(self, count, moved, out, still=()):
        """Directional derivatives of the gradient at `x`, columns moving by `set_tangents`.

        Args:
            count: number of directions.
            moved: dict "x", "x1", "x2", "predictor", "target", "rest" -> device array [directions, envs, n] of tangents.
            out: device array [directions, envs, n] to fill.
            still: names among `moved` whose tangents are all zero.
        """
        shape = (count, *self.shares.shape)
        if getattr(self, "_tangent_shares", None) is None or self._tangent_shares.shape != shape:
            self._tangent_shares = self.vectors(shape)
        for i, block in enumerate(self.model.blocks):
            columns = getattr(self, f"_tangent_{block.law.name}")
            needed = self._needed(i, block, columns, still)
            key = ("tangent", i, count, columns.ptr, self._tangent_shares.ptr, *(a.ptr for a in moved.values()))
            rest = [count, needed, self._real(DIFFERENCE[self.model.dtype]), moved["x"], moved["x1"], moved["x2"]]
            rest += [moved[block.law.reference], columns, int(self.share_offsets[i]), self._tangent_shares]
            self._command(key, lambda i=i, rest=rest: self._law("tangent", i, *rest))()
        for d in range(count):
            self.gather(self._tangent_shares[d], out[d], "all")
        if self.contact is not None:
            self.contact.tangent(count, moved, out)

    def _needed(self, i, block, columns, still):
        """Directions in which anything that a law reads moves, as a device array of flags."""
        law = block.law
        reads = ["x", law.reference] + (["x1", "x2"] if law.history else [])
        flags = np.abs(columns.numpy()).reshape(len(columns.numpy()), -1).max(axis=1) > 0
        if any(name not in still for name in reads):
            flags[:] = True
        if not hasattr(self, "_needed_flags"):
            self._needed_flags = {}
        key = (i, len(flags))
        if key not in self._needed_flags:
            self._needed_flags[key] = self._array(flags, int)
        else:
            self._needed_flags[key].assign(flags.astype(np.int32))
        return self._needed_flags[key]

    def combine(self, out, alpha, a, beta, b, fixed=False):
        """out = alpha a + beta b on free particles and a on fixed ones (`fixed`: on those too); scalars or one an environment."""
        free = self._everyone() if fixed else self.free
        self._alpha.set(alpha)
        self._beta.set(beta)
        n, kernel = self.model.particle_count, self.kernels["combine"]
        arrays = [a, b, out]
        command = self._command(
            ("combine", fixed), lambda: self.launcher.record(kernel, n, self.active, free, self._alpha.array, self._beta.array, *arrays)
        )
        for index, array in enumerate(arrays, start=4):  # states come and go: a command for each would keep them alive
            command.set(index, array)
        command()

    def _everyone(self):
        if not hasattr(self, "_all_particles"):
            self._all_particles = self._array(np.ones(self.model.particle_count), int)
        return self._all_particles

    def _partial(self, name, counts, *arguments):
        """What chunks of `CHUNK` terms add up to, [envs, chunks] or [envs, chunks, 3]; of the `counts` of terms the largest rules."""
        chunks = -(-max(counts) // CHUNK)
        if (name, chunks) not in self._partials:
            self._partials[name, chunks] = _EnvArray(self.model, wp.vec3d if name in ("trial", "descent") else wp.float64, (chunks,))
        partial = self._partials[name, chunks]
        kernel = self.kernels[name]
        inputs = [*counts, *arguments, partial.array]
        command = self._command((name, *counts), lambda: self.launcher.record(kernel, chunks, *inputs, weight=0.003 * CHUNK))
        for index, array in enumerate(arguments, start=len(counts)):
            command.set(index, array)
        command()
        return partial.get()

    def measure_trial(self):
        """Of a trial: (largest gradient of a free particle [N], energy less `base_energy` [J], scale of the base's energies [J]), [envs].

        Differences are summed stencil by stencil; the scale is the sum of absolute energies, whose rounding limits what can be told.
        """
        c = self.contact if self.contact is not None else self
        counts = self.model.particle_count, int(self.element_offsets[-1]), c.energy.shape[1] if c is not self else 0
        found = self._partial("trial", counts, self.free, self.gradient, self.energy, self.base_energy, c.energy, c.base_energy)
        return _largest_and_sums(found)

    def measure_way(self, out, x=None):
        """Put into `out` what is to be taken off `x` (None: the assembly's) to bring held particles to their targets.

        Returns:
            Its longest [m], [envs].
        """
        return self._partial("way", (self.model.particle_count,), self.free, self.x if x is None else x, self.target, out).max(axis=1)

    def measure_direction(self):
        """Of free particles: (longest `direction` [m], gradient . direction [J], sum of squares of the direction [m^2]), [envs]."""
        return _largest_and_sums(self._partial("descent", (self.model.particle_count,), self.free, self.gradient, self.direction))

    def keep_base(self):
        """Remember `x` and `energy` as the start of a line search."""
        self._keep()
        if self.contact is not None:
            self.contact.keep_base()

    def dot(self, a, b, everywhere=False):
        """Inner product over free particles (`everywhere`: over all), shape [envs]."""
        return self._partial("dot", (self.model.particle_count,), self._everyone() if everywhere else self.free, a, b).sum(axis=1)

    def largest(self, a):
        """Largest vector of a free particle, infinite when one is NaN, shape [envs]."""
        return self._partial("largest", (self.model.particle_count,), self.free, a).max(axis=1)


class _EnvArray:
    """A few numbers an environment, on the device; on the CPU read and written through one view without a copy."""

    def __init__(self, model, dtype, shape=()):
        self.array = wp.zeros((model.envs, *shape), dtype=dtype, device=model.device)
        self._view = self.array.numpy() if wp.get_device(model.device).is_cpu else None
        self._dtype = self.array.numpy().dtype

    def set(self, value):
        if self._view is not None:
            self._view[...] = value
        elif np.ndim(value) == 0:
            self.array.fill_(self._dtype.type(value))
        else:
            self.array.assign(np.broadcast_to(np.asarray(value, self._dtype), self.array.shape).copy())

    def get(self):
        return self._view if self._view is not None else self.array.numpy()


def _largest_and_sums(found):
    """Of chunks [envs, chunks, 3]: (root of the largest first one, sum of the second, sum of the third), each [envs]."""
    if found.shape[1] == 1:  # numpy's reductions take longer than a small launch
        found = found[:, 0].copy()
        return np.sqrt(found[:, 0]), found[:, 1], found[:, 2]
    return np.sqrt(found[:, :, 0].max(axis=1)), found[:, :, 1].sum(axis=1), found[:, :, 2].sum(axis=1)


def _same_for_all(array, envs):
    """A view [envs, ...] of a device array that every environment shares; the array must outlive it."""
    shape, strides = (envs, *array.shape), (0, *array.strides)
    return wp.array(ptr=array.ptr, shape=shape, strides=strides, dtype=array.dtype, device=array.device)


_reductions = {}


def reduction_kernels_for(dtype, block_dtype):
    """Reduction kernels, built once for each pair of scalar types."""
    key = (dtype, block_dtype)
    if key not in _reductions:
        _reductions[key] = reduction_kernels(SCALARS[dtype], SCALARS[block_dtype])
    return _reductions[key]
