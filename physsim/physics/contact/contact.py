"""What contact adds to an assembly: energy, forces, matrix blocks and their derivatives, from the pairs that are near.

The laws are those of `physsim.physics.laws.CONTACT` and `ROLLING`. They run through the kernels of every other law, on surface points
instead of particles and on lists that change. Rows of the lists take their parameters from a table, one row a pair of materials. Forward,
reverse and tangent passes stand in one class because they run over the same lists and recorded launches.
"""

import warnings
from functools import cache

import numpy as np
import warp as wp
from scipy import sparse

from physsim.kernels.contact import ccd, surface
from physsim.physics.contact.detection import Detection
from physsim.physics.contact.scene import PLANE
from physsim.physics.launch import Copies, HostView, Program, announce
from physsim.physics.laws import EDGE_EDGE, POINT_SHAPE, POINT_TRIANGLE, ROLLING, SCALARS

LAWS = {"point_triangle": POINT_TRIANGLE, "edge_edge": EDGE_EDGE, "point_shape": POINT_SHAPE, "rolling": ROLLING}
SPLIT = {"point_triangle": 1, "edge_edge": 2, "point_shape": 1, "rolling": 4}  # points of a row that are of its first thing
FLAT = 0.05  # least over largest extent of a sheet, which nothing is led around within a step
ROOMY = 16  # times the rows in use that the arrays of their energies may be long
SIGNS = {1.0: wp.float64(1.0), -1.0: wp.float64(-1.0)}
COST = {"evaluate": 0.3, "blocks": 2.0, "product": 1.0, "adjoint": 1.5, "tangent": 4.0}  # [us] of a row


class Contact:
    """Contact of one assembly. Arrays [envs, S] of float64 3-vectors: `s`, `s1`, `s2` (points now and at the two states before).

    Args:
        assembly: Assembly of a model with a ContactScene.
    """

    def __init__(self, assembly):
        self.assembly = a = assembly
        self.scene = scene = a.model.contact
        self.device, self.envs = a.model.device, a.model.envs
        self.detection = Detection(scene, self.device, self.envs, a.active, scene.embed(a.model.rest))
        shape = (self.envs, scene.point_count)
        self.s, self.s1, self.s2, self.motion, self._moved, self._still_points = (self._vectors(shape) for _ in range(6))
        used = scene.weights != 0.0
        order = np.argsort(~used, axis=1, kind="stable")  # the owners that count come first
        self._owner_count = self._ints(used.sum(axis=1))
        self._owners = self._ints(np.take_along_axis(scene.owners, order, axis=1), 2)
        self._weights = wp.array(np.take_along_axis(scene.weights, order, axis=1), dtype=wp.float64, device=self.device)
        rows = np.repeat(np.arange(scene.point_count), 4)[used.ravel()]
        back = sparse.csr_matrix((scene.weights[used], (scene.owners[used], rows)), (a.model.particle_count, scene.point_count))
        self._back = [self._ints(back.indptr), self._ints(back.indices), wp.array(back.data, dtype=wp.float64, device=self.device)]
        kind = scene.shape_kind if len(scene.shape_kind) else np.zeros(1)
        size = scene.shape_size if len(scene.shape_kind) else np.zeros((1, 3))
        self._shape_kind, self._shape_size = self._ints(kind), wp.array(size, dtype=wp.vec3d, device=self.device)
        self.table = self._vectors((self.envs, scene.class_count))
        self._everyone = self._ints(np.ones(self.envs))  # new arrays are filled for environments at rest as well
        self._gap, self._creep = wp.float64(scene.gap), wp.float64(scene.creep)
        self._commands, self._version, self._step_of = {}, None, None
        self._programs, self._programs_step = {}, None  # launches as the lists are now
        self._free_owners = (used & a.model.free[scene.owners]).sum(axis=1)
        self._rows_in_use = self._most_blocks = None
        frames = scene.shape_frame
        self._frame_owners = np.where(scene.weights[frames] != 0.0, scene.owners[frames], -1).reshape(len(frames), 16)
        self._free_shapes = scene.movable[frames].any(axis=1)
        self.energy = None
        self._warned, self._thinnest = False, self._least_thickness()
        self._lost = False  # whether environments at rest lost their shares to larger arrays
        self._forces = a.vectors(a.x.shape)
        self._read_forces = HostView(self._forces)
        self._still = {}  # number of directions -> motions of zero
        self.entries = a.entries
        self._kernels = _kernels(a.model.dtype)

    def _least_thickness(self):
        """Least extent of a thing that is not flat [m]; a step that would carry another beyond it may find the way around."""
        scene = self.scene
        points = scene.embed(self.assembly.model.positions)
        least = np.inf
        for body in np.setdiff1d(np.arange(len(scene.allowed)), scene.shape_body[scene.shape_kind == PLANE]):
            own = np.intersect1d(np.flatnonzero(scene.body == body), scene.vertices)
            extents = np.ptp(points[own], axis=0) + 2.0 * scene.radius[own].max() if len(own) else np.zeros(1)
            if extents.min() > FLAT * extents.max():
                least = min(least, float(extents.min()))
        return least

    def _vectors(self, shape):
        return wp.zeros(shape, dtype=wp.vec3d, device=self.device)

    def _ints(self, values, ndim=1):
        return wp.array(np.ascontiguousarray(values, dtype=np.int32), dtype=int, device=self.device, ndim=ndim)

    def load(self):
        """Load what steps need of the laws of pairs that may meet: the first touch is no time to wait for it."""
        a, scene = self.assembly, self.scene
        corners, ends = scene.body[scene.triangles[:, :1].ravel()], scene.body[scene.edges[:, :1].ravel()]
        points = scene.body[scene.vertices]
        sides = {"point_triangle": (points, corners), "edge_edge": (ends, ends), "point_shape": (points, scene.shape_body)}
        met = {name for name, (one, other) in sides.items() if scene.allowed[np.ix_(np.unique(one), np.unique(other))].any()}
        if met and self.detection.rollers is not None:
            met.add("rolling")
        kinds = ("evaluate", "blocks") if a.model.free.all() else ("evaluate", "blocks", "product")  # held points push as they move
        for name in met:
            law = LAWS[name]
            kernels = [law.kernels("float64", a.block_dtype)[kind] for kind in kinds]
            for kernel in (*kernels, _row_kernels(name)["fill"], _spread(a.block_dtype, law.points)):
                announce(kernel, self.device)

    # ---- points

    def _embed(self, x, out, scale=1.0):
        self._embedding(x, out, scale)()

    def _embedding(self, x, out, scale=1.0):
        fixed = [self.assembly.active, self._owner_count, self._owners, self._weights]
        count, changing = self.scene.point_count, [SIGNS[scale], x, out]
        recorded = x is self.assembly.x and out is self.s  # in programs, where nothing may set it to something else
        return self._command(("embed", recorded), self._kernels["embed"], count, fixed, changing, weight=0.02)

    def _embed_way(self, x, old, out):
        fixed = [self.assembly.active, self._owner_count, self._owners, self._weights]
        self._command("embed_way", self._kernels["embed_way"], self.scene.point_count, fixed, [x, old, out], weight=0.02)()

    def _command(self, key, kernel, count, fixed, changing, weight=0.01):
        """A launch with the arguments `fixed`, the same at every call, and `changing`: arrays come and go, the recorded launch stays."""
        command = self._commands.get((key, count))
        if command is None:
            command = self._commands[key, count] = self.assembly.launcher.record(kernel, count, *fixed, *changing, weight=weight)
        for index, value in enumerate(changing, start=len(fixed)):
            command.set(index, value)
        return command

    def _run(self, key, commands):
        """Launch the commands that a call of `commands` gives, the same at every call with this key while lists and step stay."""
        step = self.assembly.step
        if step != self._programs_step:
            self._programs.clear()
            self._programs_step = step
        program = self._programs.get(key)
        if program is None:
            program = self._programs[key] = Program(commands())
        program()

    # ---- where things are

    def begin_step(self):
        """Take the old states and go, as far as nothing is passed through, from the last one towards the assembly's `x`."""
        a = self.assembly
        self._note_what_turns()
        self._cover_way()
        self.detection.press(a.measure_way(a.direction, a.x1) > 0.0)
        alpha = self.largest_step(self.s1, ccd.MARK_TOUCHING)
        if (alpha < 1.0).any():
            a.set_active(alpha < 1.0)  # the others keep every bit
            a.combine(a.direction, 1.0, a.x, -1.0, a.x1, fixed=True)
            left = (1.0 - alpha) * a.largest(a.direction)
            a.combine(a.x, 1.0, a.x1, alpha, a.direction, fixed=True)
            a.set_active(True)
            if not self._warned and (np.where(alpha < 1.0, left, 0.0) > self._thinnest).any():
                self._warned = True
                warnings.warn(
                    f"something is hit that is {1e3 * self._thinnest:.3g} mm thick at the least, by what would go on for "
                    f"{1e3 * left[alpha < 1.0].max():.3g} mm in this step: it may be led around it; take a smaller dt",
                    stacklevel=7,
                )

    def _note_what_turns(self):
        """Of shapes, what is free and what a control moves."""
        if self.detection.rollers is not None:
            self.detection.turn(self._free_shapes | np.isin(self._frame_owners, self.assembly.stepping.driven).any(axis=1))

    def _cover_way(self):
        """Know every pair on the way from the old state to `x`."""
        self._embed_old()
        self.cover(self.s1, self.motion)

    def _embed_old(self):
        a = self.assembly
        self._embed(a.x1, self.s1)
        if a.step[2] != 0.0:  # else nothing looks at it
            self._embed(a.x2, self.s2)
        self._embed_way(a.x, a.x1, self.motion)

    def place(self):
        """Know the pairs at the assembly's `x`, which a solve has reached from `x1`, however far that is."""
        self._note_what_turns()
        self._embed(self.assembly.x, self.s)
        self._embed_old()
        self.cover(self.s, self._still_points)  # as a motion, a long way would be covered in part
        self.largest_step(self.s1, ccd.MARK_TOUCHING)

    def restore(self):
        """Evaluate all environments once more where lists grew in a solve: those that rested by then lost what they had."""
        if self._lost:
            self.assembly.set_active(True)
            self.assembly.evaluate()
            self._lost = False

    def prepare_search(self, direction, pressing):
        """Know every pair that may meet on the way from `x` to `x` - direction; returns the longest safe step, at most 1, [envs].

        Args:
            direction: of particles, device array [envs, n].
            pressing: environments in which particles that are held move too, [envs] bool.
        """
        self.detection.press(pressing)
        self._embed(direction, self.motion, -1.0)
        if self.cover(self.s, self.motion, tried=True):
            self.evaluate(energies_only=True)
            self.detection.max_step(self.s1, self._still_points, marks=int(ccd.MARK_TOUCHING))
        return self.largest_step(self.s, ccd.MARK_LIVE)

    def cover(self, s, motion, tried=False):
        """Lists for a move from s to s + motion, as `Detection.cover`; returns whether they are others than before."""
        changed = self.detection.cover(s, motion, self.s1, tried=tried)
        if changed:
            self._rows_in_use = self._most_blocks = None
            self._programs.clear()
            self._resize()
            self._fit_energies()
            self.energy.zero_()  # rows beyond those in use
            self.fill_rows()
        return changed

    def largest_step(self, s, marks):
        """Largest share of `motion`, at most 1, that passes through nothing, [envs]; rows that matter on the way are marked so."""
        return self.detection.max_step(s, self.motion, marks=int(marks))

    # ---- lists

    def rows(self):
        """(name, law, list, rows, number of the first row, first share, first block) of every list that has rows."""
        if self._rows_in_use is not None:
            return self._rows_in_use
        row = share = block = 0  # rows are numbered on from list to list, shares and blocks by what there is room for
        found = []
        for name, law in LAWS.items():
            pairs = getattr(self.detection, name)
            capacity = pairs.stencil.shape[1]
            if pairs.rows:  # in powers of two, so that few launches need to be recorded
                count = min(capacity, 1 << (pairs.rows - 1).bit_length())
                found.append((name, law, pairs, count, row, share, block))
                row += count
            share += capacity * law.points
            block += capacity * law.points * (law.points + 1) // 2
        self._rows_in_use = found
        return found

    def anything_near(self):
        """Whether any list has rows."""
        return bool(self.rows())

    def _resize(self):
        d = self.detection
        if self._version == d.capacity_version:
            return
        self._version = d.capacity_version
        self._lost = True
        self._commands.clear()
        capacities = [getattr(d, name).stencil.shape[1] for name in LAWS]
        points = np.array([law.points for law in LAWS.values()])
        self.shares, self._product_shares = (self._vectors((self.envs, max(1, int(np.dot(capacities, points))))) for _ in range(2))
        self._blocks = wp.zeros(
            (self.envs, max(1, int(np.dot(capacities, points * (points + 1) // 2)))), dtype=self.entries.Block, device=self.device
        )
        self._rows = {}
        for name, law in LAWS.items():
            shape = (self.envs, max(1, getattr(d, name).stencil.shape[1]))
            row = wp.types.vector(len(law.parameters), wp.float64)
            self._rows[name] = wp.zeros(shape, dtype=row, device=self.device)
        self._adjoint = None
        self._tangent = None

    def _fit_energies(self):
        """Arrays for the energies of the rows in use, which every trial sums up: lists that were long once need no long ones for ever."""
        rows = max(1, sum(count for _, _, _, count, *_ in self.rows()))
        if self.energy is not None and rows <= self.energy.shape[1] <= ROOMY * rows:
            return
        shape = (self.envs, 2 * rows)
        self.energy, self.base_energy, self._push_energy = (wp.zeros(shape, dtype=wp.float64, device=self.device) for _ in range(3))
        self.keep_base = Copies((self.base_energy, self.energy))

    def fill_rows(self, table=None, rows=None):
        """Parameters of all rows from the table (or tangents of both)."""
        for name, _law, pairs, count, *_ in self.rows():
            out = (rows or self._rows)[name]
            fixed = [self._everyone, pairs.stencil, pairs.pair_class, pairs.weight, pairs.offset, pairs.shape, pairs.rolls, pairs.arm]
            fixed += [self._shape_kind, self._shape_size, self._gap, self._creep]
            changing = [int(table is not None), table if table is not None else self.table, out]
            self._command(("fill", name), _row_kernels(name)["fill"], count, fixed, changing)()

    def set_table(self, values):
        """Put the table (stiffness, friction, damping) of every pair of materials on the device, [envs, classes, 3]."""
        self.table.assign(np.ascontiguousarray(values))
        if self._version is not None:
            self.fill_rows()

    # ---- what the assembly asks for

    def _law(self, kind, name, law, pairs, count, before, after, use=""):
        """Launch of a law's kernel on a list; `before` and `after` the state are its own arguments, the same for the same `use`."""
        a = self.assembly
        command = self._commands.get((kind, name, count, use))
        if command is None:
            kernel = law.kernels("float64", a.block_dtype)[kind]
            stencil = pairs.live if kind in ("evaluate", "blocks") else pairs.stencil  # a trial needs what may matter on the way to it
            state = [stencil, self._rows[name], self.s, self.s1, self.s2, self.s]
            arguments = [a.active, wp.vec3d(*a.step), *before, *state, *after]
            command = self._commands[kind, name, count, use] = a.launcher.record(kernel, count, *arguments, weight=COST[kind])
        for index, value in enumerate(after, start=8 + len(before)):  # numbers of rows go with the lists
            command.set(index, value)
        if self._step_of != a.step:
            self._step_of, self._step = a.step, wp.vec3d(*a.step)
        command.set(1, self._step)
        return command

    def evaluate(self, energies_only=False):
        """Energies of the pairs at the assembly's `x`; their gradient is added to the assembly's."""
        self._run(("evaluate", energies_only), lambda: self._evaluation(energies_only))

    def _evaluation(self, energies_only):
        a = self.assembly
        commands = [self._embedding(a.x, self.s)]
        for name, law, pairs, count, row, share, _ in self.rows():
            commands.append(self._law("evaluate", name, law, pairs, count, [], [row, share, self.energy, self.shares]))
        return commands if energies_only else commands + self._adding(self.shares, a.gradient)

    def _add(self, shares, out, scale=1.0):
        """Add shares of points to particles."""
        for command in self._adding(shares, out, scale):
            command()

    def _adding(self, shares, out, scale=1.0):
        if not self.anything_near():
            return []
        changing = [*self.detection.point_map, shares, SIGNS[scale], out]
        count, fixed = self.assembly.model.particle_count, [self.assembly.active, *self._back]
        recorded = shares is self.shares and out is self.assembly.gradient  # as in `_embedding`
        return [self._command(("gather", recorded), self._kernels["gather"], count, fixed, changing, weight=0.03)]

    def assemble_blocks(self):
        """Blocks of the pairs at `x`, exact or projected as the assembly's `project` says."""
        self._run("blocks", self._block_commands)

    def _block_commands(self):
        project = self.assembly.project_pairs
        return [
            self._law("blocks", name, law, pairs, n, [project], [block, self._blocks]) for name, law, pairs, n, *_, block in self.rows()
        ]

    def add_blocks(self):
        """Add what `assemble_blocks` made: to the diagonal of the assembly's `values`, the rest into `entries`."""
        e = self.entries
        if self._most_blocks is None:
            self._most_blocks = self._count_blocks()
        if e.reserve(self._most_blocks):
            self._commands.clear()
            self._programs.clear()
        e.clear()
        self._run("spread", self._spreading)

    def _spreading(self):
        a, e, commands = self.assembly, self.entries, []
        for name, law, pairs, count, _, _, block in self.rows():
            command = self._commands.get(("spread", name, count))
            if command is None:
                arguments = [a.active, pairs.live, self._owner_count, self._owners, self._weights, a.free, *a.lower_pattern]
                arguments += [SPLIT[name], block, self._blocks, a.values, e.count, e.rows, e.columns, e.blocks]
                kernel = _spread(a.block_dtype, law.points)
                command = self._commands["spread", name, count] = a.launcher.record_whole(kernel, (self.envs, count), *arguments)
            commands.append(command)
        return commands

    def _count_blocks(self):
        """Blocks that an environment's lists may need at most: one for any two free particles of a pair."""
        needed = 0
        for _, _, pairs, count, *_ in self.rows():
            stencil = pairs.stencil.numpy()[:, :count]
            particles = self._free_owners[stencil].sum(axis=-1) * (stencil[..., 0] >= 0)
            needed = needed + (particles * (particles - 1) // 2).sum(axis=1)
        return int(np.max(needed))

    def product(self, direction, out):
        """Add the exact Hessian of the pairs times a direction."""
        self._embed(direction, self._moved)
        for name, law, pairs, count, _, share, _ in self.rows():
            self._law("product", name, law, pairs, count, [], [self._moved, share, self._product_shares])()
        self._add(self._product_shares, out)

    def forces(self):
        """Contact forces on particles [N], at the assembly's `x` where it was last evaluated, numpy [envs, n, 3]."""
        a = self.assembly
        self._forces.zero_()
        a.set_active(True)
        if self.anything_near():
            self._add(self.shares, self._forces, -1.0)
        return self._read_forces().astype(np.float64)

    def pushes(self):
        """What the layers alone do to the points of the pairs, without friction and damping: shares as `shares`, numpy [envs, slots, 3]."""
        a, step = self.assembly, self.assembly.step
        a.set_active(True)
        a.set_step(0.0, 1.0, 0.0)
        for name, law, pairs, count, row, share, _ in self.rows():
            self._law("evaluate", name, law, pairs, count, [], [row, share, self._push_energy, self._product_shares], use="push")()
        a.set_step(*step)
        return self._product_shares.numpy()

    # ---- derivatives

    def begin_adjoint(self):
        """Zero the table's gradient."""
        self._table_gradient = self._vectors((self.envs, self.scene.class_count))

    def adjoint(self, direction, out):
        """Add what the pairs give to `Assembly.adjoint`."""
        if self._adjoint is None:
            self._adjoint = {key: self._vectors(self.shares.shape) for key in ("x", "x1", "x2", "reference")}
            self._row_gradients = {name: wp.zeros_like(rows) for name, rows in self._rows.items()}
        shares = self._adjoint
        self._embed(direction, self._moved)
        for name, law, pairs, count, _, share, _ in self.rows():
            gradients = self._row_gradients[name]
            gradients.zero_()
            after = [self._moved, wp.float64(-1.0), share, shares["x"], shares["x1"], shares["x2"], shares["reference"], gradients]
            self._law("adjoint", name, law, pairs, count, [], after)()
            fixed = [self.assembly.active, count, pairs.stencil, pairs.pair_class, pairs.weight, pairs.rolls, gradients]
            self._command(("collect", name, count), _row_kernels(name)["collect"], 1, fixed, [self._table_gradient])()
        for key in ("x", "x1", "x2"):
            if key in out:
                self._add(shares[key], out[key], -1.0)

    def table_gradient(self):
        """Gradient of the table, [envs, classes, 3]."""
        return self._table_gradient.numpy()

    def set_tangents(self, values):
        """Tangents of the table, [directions, envs, classes, 3]."""
        self._table_tangents = np.ascontiguousarray(values)

    def tangent(self, count, moved, out):
        """Add what the pairs give to `Assembly.tangent`."""
        if self._tangent is None or self._tangent[0].shape[0] != count:
            points = [self._vectors((count, *self.s.shape)) for _ in range(3)]
            rows = {name: wp.zeros((count, *r.shape), dtype=r.dtype, device=self.device) for name, r in self._rows.items()}
            self._tangent = (*points, self._vectors((count, *self.shares.shape)), rows, self._ints(np.ones(count)))
            self._table_rows = self._vectors((count, *self.table.shape))
            self._commands = {key: command for key, command in self._commands.items() if key[0] != "tangent"}
        x, x1, x2, shares, rows, needed = self._tangent
        self._table_rows.assign(self._table_tangents)
        for d in range(count):
            self.fill_rows(self._table_rows[d], {name: r[d] for name, r in rows.items()})
            for points, key in ((x, "x"), (x1, "x1"), (x2, "x2")):
                self._embed(moved[key][d], points[d])
        if count not in self._still:
            self._still[count] = self._vectors((count, *self.s.shape))
        for name, law, pairs, number, _, share, _ in self.rows():
            after = [count, needed, wp.float64(1e-3), x, x1, x2, self._still[count], rows[name], share, shares]
            self._law("tangent", name, law, pairs, number, [], after)()
        for d in range(count):
            self._add(shares[d], out[d])


@cache
def _kernels(dtype):
    return surface.surface_kernels(SCALARS[dtype])


@cache
def _row_kernels(name):
    return surface.row_kernels(len(LAWS[name].parameters))


@cache
def _spread(block_dtype, points):
    return surface.spread_kernel(SCALARS[block_dtype], points)
