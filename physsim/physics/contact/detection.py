"""Which pairs of features may meet during a motion, and how far the motion may go before they would pass through each other."""

import numpy as np
import warp as wp

from physsim.kernels.contact import boxes, broad_phase, ccd, rolling, slots
from physsim.physics.contact.candidates import POINTS, CandidateList, PointMap, on_device, rollers_of
from physsim.physics.launch import Launcher

REFITS = 32  # of a tree, before it is built anew for where things have gone
CHUNK = 64  # rows that one thread advances on the CPU
# times the rows that a motion of things needed, plus some, above which lists that a wild direction has filled are made anew
WASTE, WASTE_WITHIN, FEW_ROWS = 2, 4, 256
REACH = 16.0  # edge lengths that a point may go in one motion: a wild direction would make everything a candidate for everything
QUERY_COST, ADVANCE_COST = 1.5, 0.3  # [us] of a query, of a row


class Detection:
    """Candidate pairs of a scene and safe steps, for environments side by side.

    `point_triangle`, `edge_edge` and `point_shape` are CandidateLists, and so is `rolling`, of the friction of balls and capsules;
    `capacity_version` counts their allocations. The vertices of all rows are numbered one after the other: slot 4 i + k is vertex k of row
    i of the first list, `share_offsets` are the numbers at which the lists begin (by their capacities), and `point_map` says which slots
    are of which point.

    Args:
        scene: ContactScene.
        device: Warp device.
        envs: environments.
        active: device array [envs]; environments with 0 are left untouched. None: all are active.
        rest: surface points by whose edges motions count as long [m], numpy [S, 3]; None: those of the first motion.
    """

    def __init__(self, scene, device, envs, active=None, rest=None):
        self.scene, self.device, self.envs = scene, device, envs
        self.launcher = Launcher(device, envs)
        self._on_host = wp.get_device(device).is_cpu
        self.active = active if active is not None else wp.full(envs, 1, dtype=int, device=device)
        self.surfaces = on_device(scene, device)
        self._queries = 2 * len(scene.vertices) + len(scene.edges)
        self._refits, self._limit = REFITS, None if rest is None else self._longest_motion(rest[None])
        self._commands = {}
        self.capacity_version = 0
        self._allocate()
        for name, points in POINTS.items():
            setattr(self, name, self._new_list(name, points, 1))
        self._used = np.zeros(3, int)  # rows that may hold pairs
        self._held, self._usual = np.zeros((2, envs), int)  # rows of each environment, and what a motion of things needed last
        self._shortened = False  # whether only a share of the motion may be gone
        self._keys, self._slots = self._ints(0), self._ints(0)
        self.point_map = PointMap(self._ints((envs, scene.point_count + 1)), self._ints((envs, 1)))

    def _ints(self, shape):
        return wp.zeros(shape, dtype=int, device=self.device)

    def _numbers(self, shape, dtype=wp.float64):
        return wp.zeros(shape, dtype=dtype, device=self.device)

    def _allocate(self):
        scene, envs = self.scene, self.envs
        shape = (envs, scene.point_count)
        self._lower = wp.full(shape, wp.vec3d(1.0, 1.0, 1.0), dtype=wp.vec3d, device=self.device)  # nothing is inside
        self._upper = self._numbers(shape, wp.vec3d)
        self._reach = wp.full(envs, 1.0, dtype=wp.float64, device=self.device)
        self._floor, self._pressed = self._numbers(envs), np.zeros(envs, bool)
        self._stale = self._ints((envs, 2))
        self._counts, self._rolling_counts = self._ints((3, envs)), self._ints(envs)
        self.rollers = rollers_of(scene, self.device)
        self._rolling_found = self._rolling_begins = self._ints(0)
        self._turning, self._turned = np.ones(len(scene.shape_kind), bool), False
        self._found, self._begins = self._ints(envs * self._queries + 1), self._ints(envs * self._queries + 1)
        self._partners = self._ints((envs * self._queries, int(broad_phase.KEPT)))
        self._trees = [self._tree(len(scene.triangles)), self._tree(len(scene.edges))]
        self._step = self._numbers(envs)
        self._partial = wp.full((envs, 1), 1.0, dtype=wp.float64, device=self.device)
        if self._on_host:
            self._stale_view, self._counts_view, self._reach_view = (a.numpy() for a in (self._stale, self._counts, self._reach))
            self._partial_view = self._partial.numpy()

    def _tree(self, count):
        """(boundaries below and above, Bvh, the kernels' Tree) over `count` boxes of each environment."""
        tree = broad_phase.Tree()
        tree.roots = self._ints(self.envs)
        below, above = (self._numbers(self.envs * count, wp.vec3) for _ in range(2))
        if not count:
            return below, above, None, tree
        groups = wp.array(np.repeat(np.arange(self.envs, dtype=np.int32), count), dtype=int, device=self.device)
        bvh = wp.Bvh(below, above, groups=groups)
        tree.id = bvh.id
        return below, above, bvh, tree

    def _new_list(self, name, points, capacity):
        rolls, shape = name == "rolling", (self.envs, capacity)
        shapes = self._ints(shape) if rolls or name == "point_shape" else self._ints((1, 1))
        arms = self._numbers(shape if rolls else (1, 1), rolling.vec6), self._numbers(shape if rolls else (1, 1), wp.vec3i)
        stencil = wp.full((*shape, points), -1, dtype=int, device=self.device)
        numbers = self._numbers(shape), self._numbers(shape)
        live = wp.clone(stencil)
        counts = self._rolling_counts if rolls else self._counts[list(POINTS).index(name)]
        return CandidateList(stencil, live, self._ints(shape), counts, 0, self._ints(shape), *numbers, shapes, self._ints(shape), *arms)

    @property
    def point_boxes(self):
        """Lower and upper corners [m] of the boxes that the lists hold for, device arrays [envs, S]."""
        return self._lower, self._upper

    @property
    def triangle_tree(self):
        """Tree over the triangles, as kernels take it."""
        return self._trees[0][3]

    @property
    def lists(self):
        """The three lists of pairs that keep apart, in the order of their slots, before those of `rolling`."""
        return self.point_triangle, self.edge_edge, self.point_shape

    @property
    def share_offsets(self):
        """Numbers of the first slot of each list, and how many there are in all."""
        sizes = [points * getattr(self, name).capacity for name, points in POINTS.items()]
        return tuple(int(n) for n in np.concatenate([[0], np.cumsum(sizes)]))

    # ---- launches

    def _run(self, key, build, arrays=None):
        """Replay a recorded launch; `arrays`: index of an argument -> what it is this time."""
        if key not in self._commands:
            self._commands[key] = build()
        command = self._commands[key]
        for index, array in (arrays or {}).items():
            command.set(index, array)
        command()

    def _record(self, kernel, count, *arguments, weight=0.02):
        return self.launcher.record(kernel, count, *arguments, weight=weight)

    # ---- candidate pairs

    def cover(self, s, motion, before=None, margin=None, tried=False):
        """Make the lists hold every pair that may come within the gap while points go from s to s + motion.

        Where a point would go more than sixteen edge lengths, only a share of the motion is covered, and `max_step` allows no more.

        Args:
            s: surface points [m], float64 3-vectors, device array [envs, S].
            motion: [m], likewise.
            before: points at which pairs are needed too [m], likewise; None: no others.
            margin: by which points may leave the motion before lists are made anew [m]; None: the scene's gap.
            tried: whether the motion is one that a solve tries, which may be wild; else one that things have made or may well make.

        Returns:
            bool: whether any list was made anew.
        """
        if self._limit is None:
            self._limit = self._longest_motion(s.numpy())
        before = s if before is None else before
        escaped = self._escaped(s, motion, before)
        if not self._mark_wasteful(WASTE_WITHIN if tried else WASTE) and not escaped:
            return self._turned and self._list_anew_what_rolls()
        margin = wp.float64(self.scene.gap if margin is None else margin)
        arguments = [self._stale, margin, self.surfaces.fixed, self._reach, s, motion, before, self._lower, self._upper]
        record = lambda: self._record(boxes.point_boxes, self.scene.point_count, *arguments)  # noqa: E731
        self._run("point_boxes", record, {1: margin, 4: s, 5: motion, 6: before})
        self._place_trees()
        self._find()
        self._write()
        if not tried:
            self._usual = self._held
        return self._list_anew_what_rolls()

    def turn(self, shapes):
        """Which shapes may turn, [N] bool; of others friction needs no lever arm. At first all may."""
        if self.rollers is not None and not np.array_equal(shapes, self._turning):
            self._turning, self._turned = np.array(shapes, bool), True
            self.rollers.turns.assign(self._turning.astype(np.int32))

    def _list_anew_what_rolls(self):
        """The end of `cover`: True."""
        if self.rollers is not None:
            self._write_rolling()
            self._turned = False
        self._map_points()
        return True

    def _mark_wasteful(self, times):
        """Have lists made anew where they hold many times what they need to: no point leaves boxes that a wild direction has widened."""
        wasteful = self._held > times * self._usual + FEW_ROWS
        if not np.count_nonzero(wasteful):
            return False
        stale = self._stale.numpy()
        wasteful &= self.active.numpy() != 0  # the pairs of those at rest are still asked for
        stale[:, 0] |= wasteful
        if not self._on_host:
            self._stale.assign(stale)
        return bool(wasteful.any())

    def _longest_motion(self, s):
        edges = self.scene.edges[self.scene.movable[self.scene.edges].any(axis=1)]
        lengths = np.linalg.norm(np.diff(s[:, edges], axis=2), axis=-1)
        lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
        return wp.float64(REACH * float(np.median(lengths)) if lengths.size else np.inf)

    def _escaped(self, s, motion, before):
        arguments = [self.active, self._limit, self._reach, s, motion, before, self._lower, self._upper, self._stale]
        record = lambda: self._record(boxes.find_escaped, self.scene.point_count, *arguments)  # noqa: E731
        self._set_reach(None)
        for attempt in range(2):
            self._clear_stale()
            self._run("find_escaped", record, {3: s, 4: motion, 5: before})
            escaped, far = self._stale_flags()
            if not far or attempt:
                return escaped
            self._set_reach(motion)
        return escaped

    def _clear_stale(self):
        if self._on_host:
            self._stale_view[...] = 0
        else:
            self._stale.zero_()

    def _stale_flags(self):
        stale = self._stale_view if self._on_host else self._stale.numpy()
        return np.count_nonzero(stale[:, 0]) > 0, np.count_nonzero(stale[:, 1]) > 0

    def _set_reach(self, motion):
        """Whole motions (None), or what part of these may be gone."""
        if motion is None:
            if self._shortened:
                self._reach.fill_(1.0)
            self._shortened = False
            return
        self._shortened = True
        arguments = [self.active, self._limit, motion, self._reach]
        self._run("limit_reach", lambda: self.launcher.record_whole(boxes.limit_reach, self.envs, *arguments), {2: motion})

    def _place_trees(self):
        scene = self.scene
        kernels = (boxes.triangle_boxes, len(scene.triangles)), (boxes.edge_boxes, len(scene.edges))
        anew = self._refits >= REFITS
        for (below, above, bvh, tree), (kernel, count) in zip(self._trees, kernels):
            if not count:
                continue
            arguments = [self._stale, self.surfaces, self._lower, self._upper, below, above]
            self._run(kernel.key, lambda k=kernel, n=count, a=arguments: self._record(k, n, *a, weight=0.05))
            if anew:
                bvh.rebuild()
                arguments = [bvh.id, tree.roots]
                self._run(("roots", bvh.id), lambda a=arguments: self.launcher.record_whole(boxes.group_roots, self.envs, *a))
            else:
                bvh.refit()
        self._refits = 0 if anew else self._refits + 1

    def _find(self):
        trees = self._trees[0][3], self._trees[1][3]
        arguments = [self._stale, self.surfaces, self._lower, self._upper, *trees, self._found, self._partners]
        self._run("find", lambda: self._record(broad_phase.find, self._queries, *arguments, weight=QUERY_COST))
        wp.utils.array_scan(self._found, self._begins, inclusive=False)
        record = lambda: self.launcher.record_whole(broad_phase.total, self.envs, self.surfaces, self._begins, self._counts)  # noqa: E731
        self._run("total", record)

    def _write(self):
        counts = self._counts_view if self._on_host else self._counts.numpy()
        self._held = counts.sum(axis=0)
        counts = counts.max(axis=1)
        self._reserve(counts)
        rows = [made.kernels for made in self.lists]
        if self._used.any():
            used = _rounded(self._used)
            arguments = [self._counts, wp.vec3i(*used), *rows]
            self._run(("clear", *used), lambda: self._record(broad_phase.clear, max(used), *arguments))
        trees = self._trees[0][3], self._trees[1][3]
        arguments = [self._stale, self.surfaces, self._lower, self._upper, *trees, self._begins, self._partners, *rows]
        self._run("write", lambda: self._record(broad_phase.write, self._queries, *arguments, weight=0.3))
        self._used = counts.copy()
        for made, count in zip(self.lists, counts):
            made.rows = int(count)
            if count:
                wp.copy(made.live, made.stencil)
                made.touching.fill_(1)

    def _reserve(self, counts):
        """Make room; lists in new arrays are written anew for all environments."""
        grown = False
        for name, count in zip(POINTS, counts):  # of the first three
            made = getattr(self, name)
            if count > made.capacity:
                setattr(self, name, self._new_list(name, made.stencil.shape[2], _room(count)))
                grown = True
        if grown:
            self._stale.fill_(1)
            self._commands = {key: c for key, c in self._commands.items() if key in ("find_escaped", "point_boxes", "find", "total")}
            self.capacity_version += 1

    def _write_rolling(self):
        """Rows of `rolling` from those of the others, in their order."""
        rows = [min(n, made.capacity) for n, made in zip(_rounded(self._used), self.lists)]
        total, lists = sum(rows), [made.kernels for made in self.lists]
        made = self.rolling
        made.stencil.fill_(-1)
        made.rows = 0
        if not total:
            return
        if self._rolling_found.size <= self.envs * total:
            self._rolling_found, self._rolling_begins = (self._ints(_room(self.envs * total)) for _ in range(2))
            self._commands = {key: c for key, c in self._commands.items() if not str(key[0]).endswith("rolling")}
        found, begins = (a[: self.envs * total + 1] for a in (self._rolling_found, self._rolling_begins))
        head = [wp.vec3i(*rows)]
        arguments = [*head, self.rollers, *lists, self._rolling_found]
        self._run(("find rolling", *rows), lambda: self._record(rolling.find_rolling, total, *arguments))
        wp.utils.array_scan(found, begins, inclusive=False)
        arguments = [total, self._rolling_begins, self._rolling_counts]
        self._run(("count rolling", total), lambda: self.launcher.record_whole(rolling.count_rolling, self.envs, *arguments))
        count = int(self._rolling_counts.numpy().max())
        if count > made.capacity:
            made = self.rolling = self._new_list("rolling", POINTS["rolling"], _room(count))
            self._commands = {key: c for key, c in self._commands.items() if key[0] not in ("keys", "write rolling")}
            self.capacity_version += 1
        made.rows = count
        if not count:
            return
        arguments = [*head, self.surfaces, self.rollers, *lists, self._rolling_found, self._rolling_begins]
        arguments += [made.kernels, made.arm, made.source]
        self._run(("write rolling", *rows), lambda: self._record(rolling.write_rolling, total, *arguments))
        wp.copy(made.live, made.stencil)

    def _map_points(self):
        rows = [min(n, made.capacity) for n, made in zip(_rounded(self._used), self.lists)]
        rows.append(min(_rounded([self.rolling.rows])[0], self.rolling.capacity))
        size = sum(n * points for n, points in zip(rows, POINTS.values(), strict=True))
        points, total = self.scene.point_count, self.envs * size
        if not size:
            self.point_map.offsets.zero_()
            return
        if self._keys.size < 2 * total:
            self._keys, self._slots = self._ints(2 * _room(total)), self._ints(2 * _room(total))
            self._commands = {key: c for key, c in self._commands.items() if key[0] not in ("keys", "begins")}
        shares = [made.kernels for made in (*self.lists, self.rolling)]
        arguments = [points, wp.vec4i(*rows), *shares, self._keys, self._slots]
        self._run(("keys", *rows), lambda: self._record(slots.slot_keys, size, *arguments, weight=0.01))
        wp.utils.radix_sort_pairs(self._keys, self._slots, total, end_bit=(self.envs * (points + 1)).bit_length())
        offsets = self.point_map.offsets
        self._run(("begins", size), lambda: self._record(slots.slot_begins, points + 1, points, size, self._keys, offsets, weight=0.1))
        self.point_map = PointMap(offsets, self._slots[:total].reshape((self.envs, size)))

    # ---- safe steps

    def press(self, where):
        """In which environments, [envs] bool, things that are held are moved: there they press no pair below `ccd.PRESSED` of the gap."""
        if not np.array_equal(where, self._pressed):
            self._pressed = np.array(where, bool)
            self._floor.assign(np.where(where, ccd.PRESSED * self.scene.gap, 0.0))

    def max_step(self, s, motion, out=None, marks=0):
        """Largest share of a motion, at most 1, after which every pair keeps half its free distance, or 0.15 of the gap.

        The lists must cover the motion (`cover`). A pair that touches or overlaps may only move apart.

        Args:
            s, motion: surface points [m] and where they go [m], device arrays [envs, S].
            out: device array of float64 [envs] to fill; then nothing is read back.
            marks: as `physsim.kernels.contact.ccd.advance` says: which rows matter during the motion is noted in the lists' `live`.

        Returns:
            numpy array [envs], or None with `out`. Zero where a point or a motion is NaN. Inactive environments hold no meaning.
        """
        chunk = CHUNK if self._on_host else 1
        chunks = -(-int(sum(_rounded(self._used))) // chunk)
        step = self._step if out is None else out
        if self._partial.shape[1] < chunks and self._on_host:
            self._partial = wp.full((self.envs, _room(chunks)), 1.0, dtype=wp.float64, device=self.device)
            self._partial_view = self._partial.numpy()
            self._commands = {key: c for key, c in self._commands.items() if key[0] not in ("advance", "least")}
        rows = [made.kernels for made in self.lists]
        arguments = [self.active, chunk, self._counts, self.surfaces, *rows, self._reach, self._floor, s, motion, marks, self._partial]
        record = lambda: self._record(ccd.advance, chunks, *arguments, weight=ADVANCE_COST * chunk)  # noqa: E731
        if chunks or not self._on_host:
            self._run(("advance", chunks, marks), record, {9: s, 10: motion})
        if self._on_host and out is None:
            return np.minimum(self._reach_view, self._partial_view[:, :chunks].min(axis=1, initial=1.0))
        columns = chunks if self._on_host else 1
        arguments = [columns, self._partial, self._reach, step]
        self._run(("least", columns, step.ptr), lambda: self.launcher.record_whole(ccd.least, self.envs, *arguments))
        if out is not None:
            return None
        return self._step.numpy().copy()


def _room(count):
    """A capacity with room to spare, a power of two."""
    return 1 << int(1.25 * count + 15).bit_length()


def _rounded(counts):
    """Rows that a launch covers: powers of two, so that few launches have to be recorded."""
    return [1 << (int(n) - 1).bit_length() if n else 0 for n in counts]
