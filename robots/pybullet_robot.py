"""A robot whose joints and links PyBullet moves, behind motors of our own whose answer to contact is known.

PyBullet is given a skeleton: links with mass and inertia, joints without ends, damping or shapes, written out afresh from the checked
description, so that no foreign file ever reaches it. Contact is not PyBullet's business here; ends of ranges, friction of mimicked
joints and damping are in the servo (physsim.robots.servo). PyBullet's world is the root link's frame: its inverse dynamics and external
forces are right only where the root is not turned, so gravity and wrenches are turned into that frame instead.
"""

import ctypes
import os
import sys
import tempfile
import weakref
from dataclasses import replace

import numpy as np

from physsim.errors import InputError, SolverError
from physsim.io.urdf_writer import write_urdf
from physsim.physics import validation
from physsim.physics.frames import cross, matrices, turned
from physsim.robots.robot import JointState, Prediction, Robot, Wrench, in_world
from physsim.robots.servo import Servo

_MOST_JOINTS = 127  # PyBullet's own bound on joints that it reports


class PyBulletRobot(Robot):
    """A robot with mass, moved by PyBullet under implicit servos.

    Motors hold positions or speeds within the joints' speed and effort limits, and make up for gravity and Coriolis forces. Joints that
    follow another one (mimic) do so exactly, and the motor is the leader's. Joints that a limit of range holds are held rigidly. A
    joint's dry friction is not modelled.

    Args:
        description: RobotDescription, as `load_urdf` gives it.
        dt: length of a step [s].
        base_pose: (position [m], quaternion (w, x, y, z)) of the root link in the world, which is fixed; None: at the origin.
        gravity: [m/s^2], shape [3].
        bandwidth: natural frequency of the position servos [Hz], a number or shape [joints that follow no other one].
        damping_ratio: of the position servos; 1 settles without overshoot.
        device: Warp device for the kinematics.

    Raises:
        InputError: PyBullet is not installed; more joints than it takes; arguments out of range.
    """

    def __init__(
        self,
        description,
        dt=1 / 240,
        base_pose=None,
        gravity=(0.0, 0.0, -9.81),
        bandwidth=20.0,
        damping_ratio=1.0,
        device="cpu",
    ):
        super().__init__(description, dt, base_pose, device)
        tree = self.kinematics.tree
        self._servo = Servo(tree, self.dt, bandwidth, damping_ratio)
        self._to_base = matrices(tree.orientation[0]).T
        self._place = tree.origin[0]
        self._world = _Skeleton(description, tree, self.dt, self._to_base @ validation.array("gravity", gravity, (3,)))
        self.reset()

    def close(self):
        """Give PyBullet's memory back; done by itself when the robot is no longer used."""
        self._world.close()

    def state(self):
        """JointState at this moment."""
        return self._state

    def prepare(self, wrenches=None):
        """Prediction of the step to come; as `Robot.prepare`."""
        expected = self.applied if wrenches is None else self._checked_wrenches(wrenches)
        q, qd = self._state.position, self._state.velocity
        positions, quaternions, jacobians = (value[0] for value in self.kinematics.motion(q[None]))
        mass, bias = self._world.dynamics(q, qd)
        servo = self._servo.solve(self.commands, q, qd, mass, bias, self._generalised(expected, jacobians))
        prediction = Prediction(q + self.dt * servo.velocity, servo.velocity, servo.mobility, positions, quaternions, jacobians, self.dt)
        self._ready = prediction, servo, mass, bias
        return prediction

    def step(self):
        """Move on by dt; as `Robot.step`. A step that was not prepared is prepared here, expecting what was applied."""
        if self._ready is None:
            self.prepare(self._waiting)
        (prediction, servo, mass, bias), self._ready = self._ready, None
        force = self._generalised(self._waiting, prediction.jacobians)
        q, qd = self._state.position, self._state.velocity
        wanted = prediction.after(force)[1]
        total = mass @ (wanted - qd) / self.dt + bias - force
        if not np.isfinite(total).all():
            raise SolverError(f"robot {self.description.name!r} at {self.time:g} s: torques are no longer finite; a shorter dt may help")
        if self._waiting:
            self._world.refresh()
        for link, wrench in self._waiting.items():
            number = self.kinematics.tree.link(link)
            if number:  # the root is fixed, what pushes it moves nothing
                at = self._to_base @ (prediction.positions[number] - self._place)
                self._world.push(number, self._to_base @ wrench.force, self._to_base @ wrench.torque, at)
        q, qd = self._world.step(total)
        if not (np.isfinite(q).all() and np.isfinite(qd).all()):
            raise SolverError(f"robot {self.description.name!r} at {self.time:g} s: joints are no longer finite; a shorter dt may help")
        self._end(q, qd, servo, wanted)

    def _end(self, q, qd, servo, wanted):
        tree = self.kinematics.tree
        free = tree.free
        torque, saturated, stopped = np.zeros(len(q)), np.zeros(len(q), bool), np.zeros(len(q), bool)
        torque[free] = servo.level - servo.gain * wanted[free]
        saturated[free], stopped[free] = servo.saturated, servo.stopped
        self._felt = True
        self.commands.advance(servo.setpoint, servo.rate)
        self._state = JointState(q, qd, torque, saturated, stopped)
        self.applied, self._waiting = self._waiting, {}
        self.time += self.dt

    def wrench(self, link, frame="link"):
        """What a force and torque sensor in the joint that holds a link read over the last step; as `Robot.wrench`. 0 before a step."""
        number = self._held_link(link, frame)
        if not self._felt:  # PyBullet keeps what its sensors read before a reset
            return Wrench()
        load = self._world.load(number)
        if frame == "link":
            return load
        return in_world(load, self.kinematics.poses(self._state.position[None])[1][0, number])

    def _set_state(self, q, qd):
        none = np.zeros(len(q), bool)
        self._state = JointState(q.copy(), qd.copy(), np.zeros(len(q)), none, none.copy())
        self._felt = False
        self._world.reset(q, qd)


def _pybullet():
    """The module, without the line about its build that its first import writes to the process's output."""
    sys.stdout.flush()
    output, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        import pybullet
    except ImportError:
        raise InputError("PyBullet is not installed; pip install 'physsim[robots]' brings it") from None
    finally:
        ctypes.CDLL(None).fflush(None)  # the line stands in C's buffer where the output is no terminal
        os.dup2(output, 1)
        os.close(output)
        os.close(nowhere)
    return pybullet


class _Skeleton:
    """PyBullet's side: one client with links that have mass and no shapes, in the root's frame."""

    def __init__(self, description, tree, dt, gravity):
        p = self._p = _pybullet()
        _require_mass(description, tree)
        if len(tree.links) > _MOST_JOINTS + 1:
            raise InputError(f"robot {description.name!r}: {len(tree.links)} links; PyBullet takes at most {_MOST_JOINTS + 1}")
        self._client = p.connect(p.DIRECT)
        if self._client < 0:
            raise InputError("PyBullet gives no further world; close robots that are no longer used")
        self.close = weakref.finalize(self, _disconnect, p, self._client)
        p.setPhysicsEngineParameter(enableFileCaching=0, physicsClientId=self._client)
        p.setTimeStep(dt, physicsClientId=self._client)
        p.setGravity(*gravity, physicsClientId=self._client)
        with tempfile.TemporaryDirectory(prefix="physsim-") as folder:
            path = write_urdf(_bare(description, tree), folder)
            self._body = p.loadURDF(str(path), useFixedBase=True, flags=p.URDF_USE_INERTIA_FROM_FILE, physicsClientId=self._client)
        self._number_links(tree)
        self._free_joints()

    def _number_links(self, tree):
        """PyBullet's numbers of our links and joints, found by the names that we gave them."""
        p, of = self._p, {"physicsClientId": self._client}
        self._index = np.full(len(tree.links), -1)
        for k in range(p.getNumJoints(self._body, **of)):
            self._index[int(p.getJointInfo(self._body, k, **of)[12].decode()[4:])] = k
        movable = np.flatnonzero(tree.column >= 0)
        self._joints = [int(k) for k in self._index[movable[np.argsort(tree.column[movable])]]]
        self._slots = np.argsort(np.argsort(self._joints))  # PyBullet wants joints in its own order
        self._order = np.argsort(self._joints)

    def _free_joints(self):
        """Take PyBullet's own motors, damping and speed bound away, and put a sensor into every joint."""
        p, of = self._p, {"physicsClientId": self._client}
        p.setJointMotorControlArray(self._body, self._joints, p.VELOCITY_CONTROL, forces=[0.0] * len(self._joints), **of)
        self._frames = {}
        for number, k in enumerate(self._index.tolist()):
            p.changeDynamics(self._body, k, linearDamping=0.0, angularDamping=0.0, jointDamping=0.0, maxJointVelocity=1e9, **of)
            if k >= 0:
                p.enableJointForceTorqueSensor(self._body, k, **of)
                place, turn = p.getDynamicsInfo(self._body, k, **of)[3:5]  # of the centre of mass and the principal axes
                self._frames[number] = np.array(place), np.array(turn)[[3, 0, 1, 2]]

    def dynamics(self, q, qd):
        """(mass matrix [D, D], gravity and Coriolis terms [D])."""
        p, of, order, slots = self._p, {"physicsClientId": self._client}, self._order, self._slots
        q, qd = q[order].tolist(), qd[order].tolist()
        mass = np.array(p.calculateMassMatrix(self._body, q, **of))
        bias = np.array(p.calculateInverseDynamics(self._body, q, qd, [0.0] * len(q), **of))
        return mass[np.ix_(slots, slots)], bias[slots]

    def reset(self, q, qd):
        """Put joints where they shall be."""
        for k, position, speed in zip(self._joints, q.tolist(), qd.tolist()):
            self._p.resetJointState(self._body, k, position, speed, physicsClientId=self._client)

    def refresh(self):
        """Have PyBullet place the links for the joints as they are now: it takes the arms of forces from there."""
        self._p.getLinkState(self._body, self._joints[0], computeForwardKinematics=1, physicsClientId=self._client)

    def push(self, number, force, torque, at):
        """Apply a force at a point and a torque, in the root's axes, for the next step; after `refresh`."""
        p, of, k = self._p, {"physicsClientId": self._client}, int(self._index[number])
        p.applyExternalForce(self._body, k, force.tolist(), at.tolist(), p.WORLD_FRAME, **of)
        p.applyExternalTorque(self._body, k, torque.tolist(), p.WORLD_FRAME, **of)

    def step(self, torque):
        """Step under joint torques [D]; (q [D], qd [D]) after it."""
        p, of = self._p, {"physicsClientId": self._client}
        p.setJointMotorControlArray(self._body, self._joints, p.TORQUE_CONTROL, forces=torque.tolist(), **of)
        p.stepSimulation(**of)
        states = p.getJointStates(self._body, self._joints, **of)
        return np.array([state[0] for state in states]), np.array([state[1] for state in states])

    def load(self, number):
        """Wrench on the sensor that holds a link, in the link's axes about the link's origin."""
        reading = np.array(self._p.getJointState(self._body, int(self._index[number]), physicsClientId=self._client)[2])
        center, turn = self._frames[number]  # PyBullet reads minus the load, about the centre of mass in principal axes
        force, torque = turned(turn, -reading[:3]), turned(turn, -reading[3:])
        return Wrench(force, torque + cross(center, force))


def _disconnect(pybullet, client):
    if pybullet.isConnected(client):
        pybullet.disconnect(client)


def _require_mass(description, tree):
    """Raise an InputError where a joint moves nothing that has inertia: no force says how fast it goes."""
    links = [description.link(name) for name in tree.links]
    heavy = np.array([link.mass > 0 or bool(np.any(link.inertia)) for link in links])
    for k, name in enumerate(tree.joints):
        if not heavy[tree.moves[:, k]].any():
            raise InputError(f"joint {name!r}: no link that it moves has a mass; give one in the URDF, or use KinematicRobot")


def _bare(description, tree):
    """The description without shapes, ends, damping and followers, and with names that say our numbers."""
    names = {name: f"link{k}" for k, name in enumerate(tree.links)}
    links = tuple(replace(description.link(name), name=names[name], collisions=(), visuals=()) for name in tree.links)
    bare = {"lower": -np.inf, "upper": np.inf, "effort": np.inf, "velocity": np.inf, "damping": 0.0, "friction": 0.0, "mimic": None}
    joints = []
    for k, joint in enumerate(description.tree):
        kind = "revolute" if joint.kind == "continuous" else joint.kind
        joints.append(replace(joint, name=f"joint{k}", parent=names[joint.parent], child=names[joint.child], kind=kind, **bare))
    return replace(description, name="robot", links=links, joints=tuple(joints))
