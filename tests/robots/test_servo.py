"""The implicit motors: the equation that they claim to solve, with every limit active somewhere."""

from pathlib import Path

import numpy as np
import pytest

from physsim.io.description import Joint, Link, Mimic, RobotDescription
from physsim.robots.commands import POSITION, VELOCITY, JointCommands
from physsim.robots.servo import Servo
from physsim.robots.tree import joint_tree

DT = 1 / 240


def chain(count, followers=()):
    links = tuple(Link(f"l{k}", 1.0, np.zeros(3), np.eye(3)) for k in range(count + 1))
    limits = {"lower": -1.0, "upper": 1.0, "effort": 20.0, "velocity": 2.0, "damping": 0.3}
    mimics = {k: Mimic("j0", -0.5, 0.1) for k in followers}
    joints = tuple(
        Joint(f"j{k}", "prismatic", f"l{k}", f"l{k + 1}", np.eye(4), np.array([1.0, 0, 0]), **limits, mimic=mimics.get(k))
        for k in range(count)
    )
    return joint_tree(RobotDescription("chain", links, joints, Path("."), Path("chain.urdf")))


@pytest.mark.parametrize("followers", [(), (2, 4)])
def test_the_speeds_solve_the_implicit_equation_whatever_limits_are_active(followers, rng):
    tree = chain(6, followers)
    servo = Servo(tree, DT, bandwidth=20.0)
    free, follow = tree.free, tree.follow
    seen = {"saturated": 0, "stopped": 0, "fast": 0}
    for _ in range(200):
        a = rng.normal(size=(6, 6))
        mass = a @ a.T + 0.1 * np.eye(6)
        bias, force = 8 * rng.normal(size=6), 50 * rng.normal(size=6)
        u, speed = np.clip(1.2 * rng.uniform(-1, 1, len(free)), -1, 1), 2 * rng.uniform(-1, 1, len(free))
        q, qd = follow @ u + tree.offset, follow @ speed
        commands = JointCommands(tree)
        commands.hold(q)
        commands.mode = rng.integers(0, 3, len(free))
        commands.target = rng.uniform(-1, 1, len(free)) * np.where(commands.mode == POSITION, 1.0, 2.0)
        commands.rate, commands.speed = speed.copy(), rng.uniform(0.1, 2.0, len(free))
        step = servo.solve(commands, q, qd, mass, bias, force)
        after = step.velocity + DT * step.mobility @ force
        np.testing.assert_allclose(follow @ after[free], after, atol=1e-9)
        v = after[free]
        inertia, compensation = np.diag(follow.T @ mass @ follow), follow.T @ bias
        rate = 2 * np.pi * 20.0
        pull = np.where(commands.mode == POSITION, rate / 2, 0.0)
        wish = step.rate + pull * (step.setpoint - (u + DT * v))
        limit = np.where(commands.mode == POSITION, commands.speed, 2.0)
        drag = np.diag(follow.T @ np.diag(tree.damping) @ follow)
        allowed = np.clip(wish, -limit, limit)
        law = np.clip(2 * inertia * rate * (allowed - v) + drag * allowed + compensation, -20, 20)
        motor = np.where((commands.mode == POSITION) | (commands.mode == VELOCITY), law, commands.target)
        np.testing.assert_allclose(step.level - step.gain * v, motor, atol=1e-6)
        damping = follow.T @ (tree.damping * after)
        rest = follow.T @ (mass @ (after - qd) / DT + bias - force) + damping - motor
        np.testing.assert_allclose(rest[~step.stopped], 0.0, atol=1e-5)
        assert (step.saturated == ((np.abs(law) == 20) & (commands.mode < 2))).all()
        ends = u + DT * v
        assert (ends >= -1 - 1e-6).all() and (ends <= 1 + 1e-6).all()
        assert (rest[step.stopped] * np.sign(ends[step.stopped]) < 0).all(), "an end pushes inwards"
        seen["saturated"] += step.saturated.sum()
        seen["stopped"] += step.stopped.sum()
        seen["fast"] += (np.abs(wish) > limit).sum()
    assert min(seen.values()) > 20, seen


def test_the_mobility_is_what_differences_of_the_force_say(rng):
    tree = chain(4)
    servo, commands = Servo(tree, DT), JointCommands(tree)
    a = rng.normal(size=(4, 4))
    mass, q, qd, bias = a @ a.T + 0.5 * np.eye(4), 0.3 * rng.normal(size=4), 0.1 * rng.normal(size=4), rng.normal(size=4)
    commands.hold(q)
    force = 1e-3 * rng.normal(size=4)

    def after(change):
        step = servo.solve(commands, q, qd, mass, bias, force + change)
        return step.velocity + DT * step.mobility @ (force + change)

    step = servo.solve(commands, q, qd, mass, bias, force)
    slopes = np.array([(after(1e-3 * e) - after(-1e-3 * e)) / 2e-3 for e in np.eye(4)]).T
    np.testing.assert_allclose(slopes, DT * step.mobility, atol=1e-12)
    np.testing.assert_allclose(step.mobility, step.mobility.T, atol=1e-14)


def test_a_stream_of_targets_is_followed_without_lag():
    commands, q = JointCommands(chain(1)), np.zeros(1)
    commands.hold(q)
    for k in range(1, 240):
        target = 0.3 * (1 - np.cos(2 * np.pi * k * DT))
        commands.take(q, q, {"position": target}, None, "raise", None, None)
        rate = commands.next_rates(DT, 20.0)
        commands.advance(commands.next_setpoints(q, rate, DT), rate)
        assert commands.setpoint[0] == pytest.approx(target, abs=1e-12)


def test_a_distant_target_is_reached_without_overshoot_within_speed_and_acceleration():
    commands, q = JointCommands(chain(1)), np.zeros(1)
    commands.hold(q)
    commands.target[:] = 0.9
    places, rates = [0.0], [0.0]
    for _ in range(480):
        rate = commands.next_rates(DT, 5.0)
        commands.advance(commands.next_setpoints(q, rate, DT), rate)
        places.append(commands.setpoint[0])
        rates.append(commands.rate[0])
    assert np.max(rates) <= 2.0 and np.abs(np.diff(rates)).max() <= 5.0 * DT + 1e-12
    assert max(places) <= 0.9 + 1e-12 and places[-1] == pytest.approx(0.9, abs=1e-12)
