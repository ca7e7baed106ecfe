"""Candidate pairs, against every pair that there is."""

import numpy as np
import warp as wp
from scipy.spatial.transform import Rotation

from physsim.physics.contact.detection import Detection
from physsim.physics.contact.scene import BOX, CAPSULE, CYLINDER, PLANE, SPHERE

NAMES = ("point_triangle", "edge_edge", "point_shape")
SHAPES = [(PLANE, (0, 0, 0)), (SPHERE, (0.05, 0, 0)), (BOX, (0.05, 0.03, 0.02)), (CAPSULE, (0.03, 0.04, 0)), (CYLINDER, (0.04, 0.03, 0))]


def on_device(points):
    return wp.array(np.ascontiguousarray(points), dtype=wp.vec3d, device="cpu")


def rows_of(pairs, env):
    """Stencils of the rows in use of one environment."""
    count = int(pairs.count.numpy()[env])
    stencil = pairs.stencil.numpy()[env]
    assert (stencil[count:, 0] == -1).all()
    return stencil[:count]


def keys(stencils):
    return {tuple(row) for row in stencils.tolist()}


def posed_shapes(rng, spread):
    return [(kind, size, rng.uniform(-spread, spread, 3), Rotation.random(random_state=rng).as_matrix()) for kind, size in SHAPES]


def random_scene(surfaces, rng, envs=3, gap=4e-3):
    """Three soups, one of which cannot move, among moving and turning shapes; (scene, points and motions [envs, S, 3])."""
    meshes = [surfaces.soup(rng, n, 0.02, 0.08) for n in (16, 12, 8)]
    scene, points = surfaces.scene(meshes, posed_shapes(rng, 0.1), movable=[True, True, False], gap=gap)
    allowed = scene.allowed.copy()
    allowed[1, 1] = allowed[0, 6] = allowed[6, 0] = False
    scene = surfaces.replace(scene, allowed=allowed)
    s = points + rng.normal(size=(envs, *points.shape)) * 0.01 * scene.movable[:, None]
    motion = rng.normal(size=s.shape) * 0.01 * scene.movable[:, None] + np.array([0.0, 0.0, -0.02])
    for frame in scene.shape_frame:  # rigid at the beginning, turned by a tenth of a radian
        turn = Rotation.from_rotvec(0.1 * rng.normal(size=3)).as_matrix()
        motion[:, frame] = (s[:, frame] - s[:, frame[:1]]) @ (turn - np.eye(3)).T + rng.normal(size=3) * 0.01
    return scene, s, motion


def assert_complete(detection, oracle, s, motion, gap):
    """Every pair that comes near on the way is held, and nothing but pairs that count; returns how many came near."""
    found = 0
    for env in range(len(s)):
        path = s[env] + np.linspace(0, 1, 9)[:, None, None] * motion[env]
        for name in NAMES:
            pairs = getattr(oracle, name)[:, : 5 if name == "point_shape" else 4]
            near = keys(pairs[oracle.free(name, path).min(axis=0) < gap])
            rows = rows_of(getattr(detection, name), env)
            held = keys(rows)
            assert len(held) == len(rows), name
            if name == "edge_edge":  # which edge comes first is no matter
                held = {min(row, row[2:] + row[:2]) for row in held}
                near, pairs = ({min(row, row[2:] + row[:2]) for row in given} for given in (near, keys(pairs)))
            else:
                pairs = keys(pairs)
            assert near <= held <= pairs, name
            found += len(near)
    return found


def test_lists_hold_every_pair_that_comes_near(surfaces, rng):
    scene, s, motion = random_scene(surfaces, rng)
    oracle, detection = surfaces.oracle(scene), Detection(scene, "cpu", len(s))
    assert detection.cover(on_device(s), on_device(motion))
    assert assert_complete(detection, oracle, s, motion, scene.gap) > 100
    # the way back and half the way on: still inside the boxes
    assert not detection.cover(on_device(s + 0.9 * motion), on_device(-0.8 * motion))
    assert not detection.cover(on_device(s + motion), on_device(0.5 * motion))
    assert_complete(detection, oracle, s + motion, 0.5 * motion, scene.gap)
    # elsewhere: made anew, and right again
    assert detection.cover(on_device(s + 0.05), on_device(-motion))
    assert_complete(detection, oracle, s + 0.05, -motion, scene.gap)


def test_lists_at_rest_hold_the_pairs_within_the_gap_and_no_others(surfaces, rng):
    scene, s, _ = random_scene(surfaces, rng)
    oracle, detection = surfaces.oracle(scene), Detection(scene, "cpu", len(s))
    detection.cover(on_device(s), on_device(np.zeros_like(s)), margin=0.0)
    for name in NAMES:
        near = (oracle.free(name, s) < scene.gap).sum(axis=1)
        assert near.any()
        np.testing.assert_array_equal(getattr(detection, name).count.numpy(), near)
    assert_complete(detection, oracle, s, np.zeros_like(s), scene.gap)


def test_lists_hold_every_pair_that_comes_near_with_points_anywhere_in_their_boxes(surfaces, rng):
    """Corners of the boxes, each point's drawn by itself: the worst that the lists are made for; frames are bent by it."""
    scene, s, motion = random_scene(surfaces, rng)
    oracle, detection = surfaces.oracle(scene), Detection(scene, "cpu", len(s))
    detection.cover(on_device(s), on_device(0.2 * motion), margin=0.0)
    lower, upper = (corner.numpy() for corner in detection.point_boxes)
    for _ in range(8):
        x = np.where(rng.uniform(size=s.shape) < 0.5, lower, upper)
        assert_complete(detection, oracle, x, np.zeros_like(s), scene.gap)


def test_lists_hold_pairs_of_the_positions_before(surfaces, rng):
    scene, s, motion = random_scene(surfaces, rng)
    oracle, detection = surfaces.oracle(scene), Detection(scene, "cpu", len(s))
    still = np.zeros_like(s)
    detection.cover(on_device(s), on_device(still), before=on_device(s + motion))
    assert_complete(detection, oracle, s + motion, still, scene.gap)


def test_rows_know_their_pair(surfaces, rng):
    scene, s, motion = random_scene(surfaces, rng)
    detection = Detection(scene, "cpu", len(s))
    detection.cover(on_device(s), on_device(motion))
    edge_number = {tuple(e): k for k, e in enumerate(scene.edges.tolist())}
    for name in NAMES:
        pairs = getattr(detection, name)
        assert pairs.rows == pairs.count.numpy().max() <= pairs.capacity
        rows = rows_of(pairs, 1)
        n = len(rows)
        second = 2 if name == "edge_edge" else 1
        a, b = scene.material[scene.body[rows[:, 0]]], scene.material[scene.body[rows[:, second]]]
        np.testing.assert_array_equal(pairs.pair_class.numpy()[1, :n], scene.pair_class[a, b])
        offset = 0.5e-3 if name != "point_shape" else 0.25e-3
        np.testing.assert_allclose(pairs.offset.numpy()[1, :n], offset)
        weight = scene.area[rows[:, 0]]
        if name == "edge_edge":
            area = [[scene.edge_area[edge_number[tuple(e)]] for e in (row[:2], row[2:])] for row in rows.tolist()]
            weight = np.mean(area, axis=1)
        np.testing.assert_allclose(pairs.weight.numpy()[1, :n], weight)
    shapes = detection.point_shape.shape.numpy()[1, :n]
    np.testing.assert_array_equal(scene.shape_frame[shapes], rows[:, 1:])


def test_slots_list_the_rows_of_each_point(surfaces, rng):
    scene, s, motion = random_scene(surfaces, rng)
    detection = Detection(scene, "cpu", len(s))
    detection.cover(on_device(s), on_device(motion))
    offsets, slots = (a.numpy() for a in detection.point_map)
    for env in range(len(s)):
        expected = [[] for _ in range(scene.point_count)]
        for name, start in zip(NAMES, detection.share_offsets):
            rows = rows_of(getattr(detection, name), env)
            for k, point in enumerate(rows.ravel()):
                expected[point].append(start + k)
        for point, slots_of_point in enumerate(expected):
            assert slots[env, offsets[env, point] : offsets[env, point + 1]].tolist() == slots_of_point


def test_lists_do_not_depend_on_the_tree_or_on_other_environments(surfaces, rng):
    scene, s, motion = random_scene(surfaces, rng)
    together = Detection(scene, "cpu", len(s))
    for k in range(5):  # the tree is refitted on the way
        together.cover(on_device(s + 0.1 * (5 - k)), on_device(motion))
    together.cover(on_device(s), on_device(motion))
    alone = Detection(scene, "cpu", 1)
    alone.cover(on_device(s[1:2]), on_device(motion[1:2]))
    for name in NAMES:
        np.testing.assert_array_equal(rows_of(getattr(together, name), 1), rows_of(getattr(alone, name), 0))


def test_an_environment_at_rest_keeps_its_lists_while_another_moves(surfaces, rng):
    scene, s, motion = random_scene(surfaces, rng, envs=2)
    detection = Detection(scene, "cpu", 2)
    detection.cover(on_device(s), on_device(motion))
    before = [rows_of(getattr(detection, name), 0) for name in NAMES]
    s[1] = s[1, :1] + 0.02 * (s[1] - s[1, :1])  # everything is near everything: lists grow
    version = detection.capacity_version
    assert detection.cover(on_device(s), on_device(0.1 * motion))
    assert detection.capacity_version > version
    for name, rows in zip(NAMES, before):
        np.testing.assert_array_equal(rows_of(getattr(detection, name), 0), rows)


def test_a_query_with_many_partners_writes_them_all(surfaces, rng):
    points, triangles = surfaces.soup(rng, 40, 1e-3, 1e-3)
    scene, points = surfaces.scene([(points, triangles)])
    detection, oracle = Detection(scene, "cpu", 1), surfaces.oracle(scene)
    still = np.zeros((1, *points.shape))
    detection.cover(on_device(points[None]), on_device(still))
    assert detection.point_triangle.rows > 12 * len(scene.vertices)
    for name in NAMES[:2]:
        rows = rows_of(getattr(detection, name), 0)
        assert len(keys(rows)) == len(rows)
        near = getattr(oracle, name)[oracle.free(name, points) < scene.gap]
        assert keys(near) <= keys(rows)


def test_pairs_that_share_a_particle_are_left_out(surfaces):
    """A rigid body's points are made of the same four particles, and never meet."""
    points, triangles = surfaces.grid(3, 1e-3)
    scene, points = surfaces.scene([(points, triangles)])
    owners, weights = np.tile(np.arange(4), (len(points), 1)), np.full((len(points), 4), 0.25)
    rigid = Detection(surfaces.replace(scene, owners=owners, weights=weights), "cpu", 1)
    soft = Detection(scene, "cpu", 1)
    for detection, some in ((rigid, False), (soft, True)):
        detection.cover(on_device(points[None]), on_device(np.zeros((1, *points.shape))))
        assert bool(detection.point_triangle.rows) == bool(detection.edge_edge.rows) == some


def test_a_body_far_beyond_a_plane_is_no_candidate(surfaces):
    scene, points = surfaces.scene([surfaces.grid(3, 0.1, height=0.05)], [(PLANE, (0, 0, 0), np.zeros(3), np.eye(3))])
    detection = Detection(scene, "cpu", 1)
    motion = np.zeros((1, *points.shape))
    detection.cover(on_device(points[None]), on_device(motion))
    assert detection.point_shape.rows == 0
    motion[:, :9, 2] = -0.049
    detection.cover(on_device(points[None]), on_device(motion))
    assert detection.point_shape.rows == 9


def test_a_wild_motion_is_cut_before_everything_is_near_everything(surfaces):
    scene, points = surfaces.scene([surfaces.grid(12, 0.5)])
    detection = Detection(scene, "cpu", 2)
    motion = np.zeros((2, *points.shape))
    motion[1, 5] = [0.0, 0.0, 1e6]
    s = on_device(np.stack([points, points]))
    detection.cover(s, on_device(motion))
    np.testing.assert_array_less(detection.point_triangle.count.numpy(), 1000)
    step = detection.max_step(s, on_device(motion))
    assert step[0] == 1.0
    assert 0 < step[1] * 1e6 <= 16 * 0.5 / 11 * 2**0.5 * 1.001
    motion[1] = 0.0
    detection.cover(s, on_device(motion))
    assert detection.max_step(s, on_device(motion))[1] == 1.0


def test_nan_stays_in_its_environment(surfaces, rng):
    scene, s, motion = random_scene(surfaces, rng)
    detection = Detection(scene, "cpu", len(s))
    s[1, 4], motion[2, 3] = np.nan, np.inf
    detection.cover(on_device(s), on_device(motion))
    clean = Detection(scene, "cpu", 1)
    clean.cover(on_device(s[:1]), on_device(motion[:1]))
    for name in NAMES:
        np.testing.assert_array_equal(rows_of(getattr(detection, name), 0), rows_of(getattr(clean, name), 0))
    step = detection.max_step(on_device(s), on_device(motion))
    assert step[0] == clean.max_step(on_device(s[:1]), on_device(motion[:1]))[0]


def test_a_scene_without_surfaces_asks_for_nothing(surfaces):
    scene, points = surfaces.scene([(np.zeros((1, 3)), np.zeros((0, 3), int))])
    detection = Detection(scene, "cpu", 1)
    s = on_device(points[None])
    assert detection.cover(s, s)
    assert [pairs.rows for pairs in (detection.point_triangle, detection.edge_edge, detection.point_shape)] == [0, 0, 0]
    assert detection.max_step(s, s)[0] == 1.0


def test_lists_that_a_wild_direction_has_filled_are_made_anew(surfaces, rng):
    """Points stay inside boxes that a wild direction has widened, so that nothing else would ever empty the lists; in every environment."""
    meshes = [surfaces.grid(12, height=h) for h in (0.0, 0.02)]
    scene, points = surfaces.scene(meshes, gap=1e-3)
    s = np.stack([points, points])
    still, wild = np.zeros_like(s), np.zeros_like(s)
    wild[1] = rng.normal(size=points.shape)
    detection, fresh = (Detection(scene, "cpu", 2) for _ in range(2))
    detection.cover(on_device(s), on_device(still))
    few = [made.count.numpy().tolist() for made in detection.lists]
    assert detection.cover(on_device(s), on_device(wild), tried=True)
    many = [made.count.numpy().tolist() for made in detection.lists]
    assert sum(m[1] for m in many) > 1000 + 4 * sum(f[1] for f in few)
    assert [m[0] for m in many] == [f[0] for f in few]
    tame = 1e-4 * rng.normal(size=s.shape)
    assert detection.cover(on_device(s), on_device(tame), tried=True)
    fresh.cover(on_device(s), on_device(tame))
    for env in range(2):
        for made, other in zip(detection.lists, fresh.lists, strict=True):
            held = keys(rows_of(made, env))
            assert held == keys(rows_of(other, env)) or env == 0  # where nothing was wild the lists are those of before
    assert not detection.cover(on_device(s), on_device(tame), tried=True)


def test_lists_of_environments_at_rest_are_left_as_they_are(surfaces, rng):
    scene, points = surfaces.scene([surfaces.grid(12, height=h) for h in (0.0, 0.02)], gap=1e-3)
    s, still = points[None], np.zeros((1, *points.shape))
    active = wp.full(1, 1, dtype=int, device="cpu")
    detection = Detection(scene, "cpu", 1, active)
    detection.cover(on_device(s), on_device(still))
    detection.cover(on_device(s), on_device(rng.normal(size=s.shape)), tried=True)
    active.zero_()
    assert not detection.cover(on_device(s), on_device(still), tried=True)
    active.fill_(1)
    assert detection.cover(on_device(s), on_device(still), tried=True)
