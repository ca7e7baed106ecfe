"""Robots that several tests drive."""

import warnings

import pytest


@pytest.fixture(scope="session")
def robots():
    """Descriptions of the robots that come with PyBullet."""
    pytest.importorskip("pybullet")
    from physsim.robots import kuka_wsg50, panda, xarm6

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the xArm's file gives one link an inertia that no body has
        return {"panda": panda(coupled_fingers=False), "kuka": kuka_wsg50(), "xarm": xarm6()}
