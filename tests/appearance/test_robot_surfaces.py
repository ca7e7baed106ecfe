"""Robots are seen as PyBullet's own camera sees them."""

from dataclasses import replace

import numpy as np
import pytest

from physsim.appearance.camera import Camera
from physsim.appearance.meshes import render_surfaces
from physsim.appearance.robot_surfaces import placed_links, robot_surfaces, shape_triangles
from physsim.errors import InputError
from physsim.io.description import Geometry
from physsim.robots import PyBulletRobot, panda, xarm6

VIEW = Camera.look_at((1.3, -1.1, 0.9), (0.2, 0.0, 0.4), width=160, height=120, near=0.05)
HOME = np.array([0.3, -0.4, 0.2, -2.2, 0.0, 1.8, 0.785, 0.03, 0.03])  # [rad], fingers [m]
FAR = 10.0  # [m]


def seen_by_pybullet(description, joints):
    """Depth [m] and number of the link (0: the base), -1 where nothing is, of PyBullet's software renderer."""
    import pybullet as p

    client = p.connect(p.DIRECT)
    try:
        robot = p.loadURDF(str(description.path), useFixedBase=True, physicsClientId=client)
        movable = [k for k in range(p.getNumJoints(robot, client)) if p.getJointInfo(robot, k, client)[2] != p.JOINT_FIXED]
        for number, value in zip(movable, joints, strict=True):
            p.resetJointState(robot, number, value, physicsClientId=client)
        eye, target = VIEW.position, VIEW.target
        looking = p.computeViewMatrix(eye.tolist(), target.tolist(), [0, 0, 1])
        lens = p.computeProjectionMatrixFOV(40.0, VIEW.width / VIEW.height, VIEW.near, FAR)
        flags = p.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX
        picture = p.getCameraImage(VIEW.width, VIEW.height, looking, lens, flags=flags, renderer=p.ER_TINY_RENDERER, physicsClientId=client)
        names = ["", *(p.getJointInfo(robot, k, client)[12].decode() for k in range(p.getNumJoints(robot, client)))]
    finally:
        p.disconnect(client)
    buffer, mask = (np.reshape(picture[k], (VIEW.height, VIEW.width)) for k in (3, 4))
    depth = FAR * VIEW.near / (FAR - (FAR - VIEW.near) * buffer)
    return depth, np.where(mask < 0, -1, mask >> 24), names


def test_a_panda_is_seen_where_pybullet_sees_it():
    description = panda()
    robot = PyBulletRobot(description, dt=1 / 240)
    robot.reset(HOME)
    corner = replace(VIEW, centre=(VIEW.centre[0] + 0.5, VIEW.centre[1] - 0.5))  # its renderer looks through pixels' lower left corners
    image = render_surfaces(placed_links(robot_surfaces(description, label_each=True), robot.links()), corner)
    depth, links, names = seen_by_pybullet(description, HOME)
    numbers = {link.name: k for k, link in enumerate(description.links)}
    theirs = np.array([-1, *(numbers.get(name, 0) for name in names)])[links + 1]
    ours = image.labels.numpy()
    agree = ours == theirs
    assert (theirs >= 0).sum() > 1000
    assert agree.mean() > 0.998  # all but a few pixels at silhouettes
    both = agree & (ours >= 0)
    error = np.abs(image.depth.numpy() - depth)[both]
    assert np.median(error) < 1e-5
    assert np.quantile(error, 0.99) < 1e-3


def test_links_have_labels_of_their_own_or_one_for_all():
    description = xarm6()
    one, each = robot_surfaces(description, label=4), robot_surfaces(description, label=4, label_each=True)
    assert {surface.label for surface in one.values()} == {4}
    names = [link.name for link in description.links]
    assert all(surface.label == 4 + names.index(name) for name, surface in each.items())
    assert list(robot_surfaces(description, links=["link3"])) == ["link3"]
    assert list(robot_surfaces(description, links=["link3"], collisions=True)) == ["link3"]


@pytest.mark.parametrize(
    ("kind", "size", "volume", "extent"),
    [
        ("box", (0.2, 0.4, 0.6), 0.2 * 0.4 * 0.6, (0.2, 0.4, 0.6)),
        ("sphere", (0.3,), 4 / 3 * np.pi * 0.3**3, (0.6, 0.6, 0.6)),
        ("cylinder", (0.2, 0.5), np.pi * 0.2**2 * 0.5, (0.4, 0.4, 0.5)),
        ("capsule", (0.2, 0.5), np.pi * 0.2**2 * 0.5 + 4 / 3 * np.pi * 0.2**3, (0.4, 0.4, 0.9)),
    ],
)
def test_simple_shapes_become_closed_outward_surfaces_in_their_place(kind, size, volume, extent):
    origin = np.eye(4)
    origin[:3, 3] = [1.0, 2.0, 3.0]
    origin[:3, :3] = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # the shape's z becomes the link's x
    points, triangles = shape_triangles(Geometry(kind, size, origin))
    a, b, c = (points[triangles[:, k]] - origin[:3, 3] for k in range(3))
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(volume, rel=0.02)
    np.testing.assert_allclose(np.ptp(points, axis=0), origin[:3, :3] @ extent, rtol=0.01)
    np.testing.assert_allclose(0.5 * (points.min(axis=0) + points.max(axis=0)), origin[:3, 3], atol=2e-3)


def test_links_of_another_robot_are_refused():
    other = PyBulletRobot(xarm6(), dt=1 / 240)
    with pytest.raises(InputError, match="none of that name"):
        placed_links(robot_surfaces(panda()), other.links())
    with pytest.raises(InputError, match="none of that name"):
        robot_surfaces(panda(), links=["elbow"])
