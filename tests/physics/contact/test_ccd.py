"""Safe steps: nothing passes, and nothing is held back without need."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from physsim.physics.contact.detection import Detection
from physsim.physics.contact.intersections import Inspection
from physsim.physics.contact.scene import BOX, CAPSULE, CYLINDER, PLANE, SPHERE

THICKNESS = 5e-4
SHAPES = {PLANE: (0, 0, 0), SPHERE: (0.05, 0, 0), BOX: (0.05, 0.03, 0.02), CAPSULE: (0.03, 0.04, 0), CYLINDER: (0.04, 0.03, 0)}


def on_device(points):
    return wp.array(np.ascontiguousarray(points), dtype=wp.vec3d, device="cpu")


def steps_of(scene, s, motion):
    detection = Detection(scene, "cpu", len(s))
    s, motion = on_device(s), on_device(motion)
    detection.cover(s, motion)
    return detection.max_step(s, motion)


def assert_safe_and_not_short(oracle, s, motion, alpha, looks=101):
    """Pairs keep 0.15 of the gap, or half their free distance if it is less than the gap, and no step is shorter than that needs."""
    names = [name for name in ("point_triangle", "edge_edge", "point_shape") if len(getattr(oracle, name))]
    free = lambda x: np.concatenate([oracle.free(name, x) for name in names], axis=-1)  # noqa: E731
    start = free(s)
    assert (start > 0).all()
    gap = oracle.scene.gap
    least, most = np.where(start < gap, 0.4999 * start, 0.1499 * gap), np.where(start < gap, 0.5501 * start, 0.2001 * gap)
    for t in np.linspace(0, 1, looks):
        left = free(s + (t * alpha)[:, None, None] * motion)
        assert (left >= least).all()
    short = alpha < 1
    assert (left <= most).any(axis=1)[short].all()
    return short


def pair_scene(surfaces, pair):
    """A point and a triangle, or two edges, of two bodies."""
    point, triangle = (np.zeros((1, 3)), np.zeros((0, 3), int)), (np.zeros((3, 3)), [[0, 1, 2]])
    if pair == "point_triangle":
        scene, _ = surfaces.scene([point, triangle], thickness=THICKNESS, edges=np.zeros((0, 2), int))
        return surfaces.replace(scene, vertices=np.array([0]))
    edge = (np.zeros((2, 3)), np.zeros((0, 3), int))
    scene, _ = surfaces.scene([edge, edge], thickness=THICKNESS, edges=[[0, 1], [2, 3]])
    return surfaces.replace(scene, vertices=np.zeros(0, int))


def stencils(rng, case, count, first=2):
    """Stencils, whose first feature has so many points, and motions of 10 m/s over 1/60 s, [count, 4, 3]."""
    s = rng.uniform(-0.1, 0.1, (count, 4, 3))
    motion = rng.normal(size=s.shape)
    motion *= 10.0 / 60.0 / np.linalg.norm(motion, axis=-1, keepdims=True)
    if case == "straight":  # each feature keeps its shape
        motion[:] = motion[:, :1]
        motion[:, first:] *= -0.3
    elif case == "slow":
        motion *= 1e-3
    elif case == "parallel edges":
        s[:, 3] = s[:, 2] + rng.uniform(-2, 2, (count, 1)) * (s[:, 1] - s[:, 0])
    elif case == "needles":
        s[:, 3] = s[:, 2] + rng.uniform(-1, 2, (count, 1)) * (s[:, 2] - s[:, 1])
    elif case == "points":
        s[:, 3], motion[:, 3] = s[:, 2], motion[:, 2]
    elif case == "close":
        s, motion = 1e-2 * s, 1e-2 * motion
    return s, motion


CASES = ["wild", "straight", "slow", "parallel edges", "needles", "points", "close"]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pair", ["point_triangle", "edge_edge"])
def test_a_fast_pair_stops_short_of_passing(surfaces, rng, pair, case):
    scene = pair_scene(surfaces, pair)
    oracle = surfaces.oracle(scene)
    s, motion = stencils(rng, case, 1000, first=1 if pair == "point_triangle" else 2)
    apart = oracle.least_free(s) > 1e-5
    s, motion = s[apart], motion[apart]
    short = assert_safe_and_not_short(oracle, s, motion, steps_of(scene, s, motion))
    if case in ("wild", "straight", "close"):
        assert short.any()
    assert not short.all()


def test_a_straight_flight_ends_within_a_fifth_of_the_impact(surfaces, rng):
    scene = pair_scene(surfaces, "point_triangle")
    triangle = np.array([[-0.1, -0.1, 0], [0.1, -0.1, 0], [0, 0.15, 0]])
    height = 10 ** rng.uniform(-3, -1, 200)
    s = np.tile(np.vstack([np.zeros((1, 3)), triangle]), (200, 1, 1))
    s[:, 0] = np.column_stack([rng.uniform(-0.02, 0.02, (200, 2)), height])
    motion = np.zeros_like(s)
    motion[:, 0] = [0.02, 0.01, -10.0 / 60.0]
    alpha = steps_of(scene, s, motion)
    free = height - THICKNESS
    kept = np.where(free < scene.gap, 0.5 * free, 0.15 * scene.gap)
    np.testing.assert_allclose(alpha, (free - kept) / (10.0 / 60.0), rtol=1e-9)
    far = free > scene.gap
    assert (alpha > 0.8 * free / (10.0 / 60.0))[far].all()


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_a_point_stops_short_of_a_shape_that_moves_and_turns(surfaces, rng, kind):
    scene, _ = surfaces.scene(
        [(np.zeros((1, 3)), np.zeros((0, 3), int))], [(kind, SHAPES[kind], np.zeros(3), np.eye(3))], thickness=THICKNESS
    )
    count = 1000
    turned, turns = (
        Rotation.random(count, random_state=rng).as_matrix(),
        Rotation.from_rotvec(rng.normal(size=(count, 3)) * 0.5).as_matrix(),
    )
    s = np.empty((count, 5, 3))
    s[:, 0] = rng.uniform(-0.2, 0.2, (count, 3))
    s[:, 1] = rng.uniform(-0.05, 0.05, (count, 3))
    s[:, 2:] = s[:, 1:2] + np.swapaxes(turned, 1, 2)
    motion = np.empty_like(s)
    motion[:, :2] = rng.normal(size=(count, 2, 3)) * 0.1
    motion[:, 2:] = motion[:, 1:2] + np.swapaxes(turns @ turned - turned, 1, 2)
    oracle = surfaces.oracle(scene)
    apart = oracle.least_free(s) > 1e-5
    s, motion = s[apart], motion[apart]
    short = assert_safe_and_not_short(oracle, s, motion, steps_of(scene, s, motion))
    assert short.any()
    assert not short.all()


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_a_grain_between_shapes_turns_no_step_to_nothing(surfaces, kind):
    """A wheel that turns beside a resting point: a shape that moves along itself holds nothing back."""
    scene, _ = surfaces.scene(
        [(np.zeros((1, 3)), np.zeros((0, 3), int))], [(kind, SHAPES[kind], np.zeros(3), np.eye(3))], thickness=THICKNESS
    )
    above = {PLANE: 0.0, SPHERE: 0.05, BOX: 0.02, CAPSULE: 0.07, CYLINDER: 0.03}[kind]
    s = np.vstack([[0.0, 0.0, above + 0.5 * THICKNESS + 1e-6], np.zeros(3), np.eye(3)])[None]
    motion = np.zeros_like(s)
    motion[:, 1:] = s[:, 1:] @ (Rotation.from_rotvec([0, 0, 0.2]).as_matrix() - np.eye(3)).T
    assert steps_of(scene, s, motion)[0] == 1.0


def test_sliding_close_by_is_not_held_back(surfaces):
    """A point glides along a triangle a thousandth of its way off it; a bound that knows speeds only would need hundreds of looks."""
    scene = pair_scene(surfaces, "point_triangle")
    s = np.array([[[-0.08, -0.05, THICKNESS + 1e-7], [-0.1, -0.1, 0], [0.1, -0.1, 0], [0, 0.15, 0]]])
    motion = np.zeros_like(s)
    motion[:, 0] = [0.1, 0.0, 0.0]
    assert steps_of(scene, s, motion)[0] == 1.0


def test_pairs_that_touch_may_only_part(surfaces):
    scene = pair_scene(surfaces, "point_triangle")
    triangle = [[-0.1, -0.1, 0], [0.1, -0.1, 0], [0, 0.15, 0]]
    s = np.array([[[0, 0, z], *triangle] for z in (THICKNESS, THICKNESS, 0.5 * THICKNESS, 0.5 * THICKNESS)])
    motion = np.zeros_like(s)
    motion[:, 0, 2] = [1e-3, -1e-3, 1e-3, -1e-3]
    np.testing.assert_array_equal(steps_of(scene, s, motion) > 0, [True, False, True, False])


def test_nan_and_infinity_allow_no_step(surfaces):
    scene = pair_scene(surfaces, "edge_edge")
    s = np.tile(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1e-3, 0], [1, 1e-3, 1]]), (4, 1, 1))
    motion = np.zeros_like(s)
    s[1, 2, 0], motion[2, 0, 1], motion[3, 3, 2] = np.nan, np.nan, np.inf
    np.testing.assert_array_equal(steps_of(scene, s, motion), [1, 0, 0, 0])


def test_a_cloth_hit_at_ten_metres_a_second_is_not_passed(surfaces, rng):
    """Half a millimetre of cloth, in several environments, by a box with sharp edges and by itself."""
    cloth = surfaces.grid(7, 0.2)
    block, faces = surfaces.grid(2, 0.04)
    block = np.vstack([block, block + [0, 0, 0.04]])
    faces = np.vstack([faces, faces + 4, [[0, 1, 5], [0, 5, 4], [1, 3, 7], [1, 7, 5], [3, 2, 6], [3, 6, 7], [2, 0, 4], [2, 4, 6]]])
    envs = 2
    scene, points = surfaces.scene([cloth, (block, faces)], thickness=THICKNESS)
    s = np.tile(points, (envs, 1, 1))
    for k in range(envs):
        turn = Rotation.random(random_state=rng).as_matrix()
        s[k, 49:] = (block - block.mean(axis=0)) @ turn.T + [0.01 * k, 0, 0.08]
    s[:, :49, 2] += 0.002 * rng.normal(size=(envs, 49))
    motion = np.zeros_like(s)
    motion[:, 49:] = [0.02, 0.0, -10.0 / 60.0]
    oracle = surfaces.oracle(scene)
    detection = Detection(scene, "cpu", envs)
    for _ in range(3):
        x, m = on_device(s), on_device(motion)
        detection.cover(x, m)
        alpha = detection.max_step(x, m)
        assert_safe_and_not_short(oracle, s, motion, alpha, looks=11)
        s = s + alpha[:, None, None] * motion
        motion = motion * (1 - alpha[:, None, None])
    assert (alpha < 1).all()


def test_a_crowd_on_random_ways_never_passes_through_itself(surfaces, rng):
    """Loose triangles among shapes, thrown about again and again; lists are kept where they still hold."""
    centres = 0.03 * np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    corners = (centres + 0.006 * rng.normal(size=(27, 3, 3)).clip(-1.5, 1.5)).reshape(-1, 3)
    shapes = [(SPHERE, (0.005, 0, 0), np.array([0.015, 0.015, 0.015]), np.eye(3)), (PLANE, (0, 0, 0), np.array([0, 0, -0.02]), np.eye(3))]
    scene, points = surfaces.scene([(corners, np.arange(81).reshape(-1, 3))], shapes, thickness=THICKNESS)
    oracle, inspection = surfaces.oracle(scene), Inspection(scene, "cpu", 3)
    s = np.tile(points, (3, 1, 1))
    detection, made = Detection(scene, "cpu", 3), 0
    free = oracle.least_free(s)
    shortened = 0
    for _ in range(60):
        motion = rng.normal(size=s.shape) * 10 ** rng.uniform(-5, -2, (3, 1, 1)) * scene.movable[:, None]
        x, m = on_device(s), on_device(motion)
        made += detection.cover(x, m)
        alpha = detection.max_step(x, m)
        shortened += (alpha < 1).sum()
        s = s + alpha[:, None, None] * motion
        left = oracle.least_free(s)
        assert (left >= 0.1499 * np.minimum(free, scene.gap)).all()
        free = left
        assert len(inspection.intersections(on_device(s))) == 0
    assert shortened > 10
    assert made < 60


@pytest.mark.parametrize("case", ["wild", "close"])
def test_the_way_of_a_gpu_gives_the_same_steps(surfaces, rng, case):
    scene = pair_scene(surfaces, "edge_edge")
    s, motion = stencils(rng, case, 50)
    parallel = Detection(scene, "cpu", len(s))
    parallel._on_host = False  # one row a thread, atomic minima, nothing read through views
    for _ in range(2):
        parallel.cover(on_device(s), on_device(motion))
        np.testing.assert_array_equal(parallel.max_step(on_device(s), on_device(motion)), steps_of(scene, s, motion))


@pytest.mark.gpu
@pytest.mark.skipif(not wp.is_cuda_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_pairs_and_steps(surfaces, rng):
    scene, points = surfaces.scene([surfaces.grid(7, 0.2), surfaces.soup(rng, 20, 0.02, 0.1)])
    s = points + 1e-3 * rng.normal(size=(3, *points.shape))
    motion = 0.02 * rng.normal(size=s.shape)
    lists, steps = [], []
    for device in ("cpu", "cuda:0"):
        detection = Detection(scene, device, 3)
        x, m = (wp.array(a, dtype=wp.vec3d, device=device) for a in (s, motion))
        for shift in (0.5, 0.0):
            detection.cover(wp.array(s + shift, dtype=wp.vec3d, device=device), m)
        detection.cover(x, m)
        lists.append([pairs.stencil.numpy()[:, : pairs.rows] for pairs in detection.lists])
        steps.append(detection.max_step(x, m))
    for a, b in zip(*lists):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(*steps, rtol=1e-9)


def test_steps_do_not_depend_on_how_environments_stand_together(surfaces, rng):
    scene = pair_scene(surfaces, "edge_edge")
    s, motion = stencils(rng, "wild", 50)
    together = steps_of(scene, s, motion)
    alone = [steps_of(scene, s[k : k + 1], motion[k : k + 1])[0] for k in range(0, 50, 10)]
    np.testing.assert_array_equal(together[::10], alone)
