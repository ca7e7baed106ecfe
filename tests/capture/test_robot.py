"""A robot's URDF and joint positions give handles where the links are."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from physsim.capture.capture import Capture
from physsim.capture.check import check_capture
from physsim.errors import InputError

URDF = """<robot name="arm">
  <link name="base"><visual><geometry><mesh filename="package://somewhere/else.stl"/></geometry></visual></link>
  <link name="upper"><inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="100" ixy="0" ixz="0" iyz="0"/></inertial></link>
  <link name="hand"/><link name="left"/><link name="right"/>
  <joint name="turn" type="revolute"><parent link="base"/><child link="upper"/><origin xyz="0 0 0.1"/><axis xyz="0 0 1"/>
    <limit lower="-2" upper="2" effort="1" velocity="1"/></joint>
  <joint name="reach" type="prismatic"><parent link="upper"/><child link="hand"/><origin xyz="0.2 0 0"/><axis xyz="1 0 0"/>
    <limit lower="0" upper="1" effort="1" velocity="1"/></joint>
  <joint name="finger" type="prismatic"><parent link="hand"/><child link="left"/><axis xyz="0 1 0"/>
    <limit lower="0" upper="0.05" effort="1" velocity="1"/></joint>
  <joint name="other" type="prismatic"><parent link="hand"/><child link="right"/><axis xyz="0 -1 0"/><mimic joint="finger"/>
    <limit lower="0" upper="0.05" effort="1" velocity="1"/></joint>
</robot>"""
TIMES = np.array([0.0, 0.2, 0.5])
TURN, REACH, FINGER = np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.1, 0.3]), np.array([0.03, 0.02, 0.01])


@pytest.fixture
def robot(folder, edit):
    """A folder whose handle `grip` is a link of a robot; a function that changes what capture.json says of it."""
    (folder / "robot.urdf").write_text(URDF)
    rows = np.stack([TIMES, TURN, REACH, FINGER], axis=1).tolist()
    (folder / "joints.csv").write_text("time,turn,reach,finger\n" + "".join(",".join(map(repr, row)) + "\n" for row in rows))
    link = {"link": "hand", "point": [0.05, 0, 0], "opening": ["finger", "other"]}
    base = {"position": [-0.25, 0, 0.26], "quaternion": Rotation.from_euler("z", 30, degrees=True).as_quat(scalar_first=True).tolist()}
    facts = {"urdf": "robot.urdf", "joints": "joints.csv", "links": {"grip": link}, "base": base}
    edit(lambda f: (f.update(robot=facts), f["handles"].update(grip={"radius": 0.02})))
    return lambda change: edit(lambda f: change(f["robot"]))


def test_links_become_handles_by_forward_kinematics(folder, robot):
    grip = Capture.load(folder).handles["grip"]
    base = Rotation.from_euler("z", 30, degrees=True)
    turns = base * Rotation.from_euler("z", TURN[:, None])
    out = np.stack([0.25 + REACH, 0 * REACH, 0 * REACH], axis=1)
    expected = [-0.25, 0, 0.26] + base.apply([0, 0, 0.1]) + turns.apply(out)
    np.testing.assert_allclose(grip.positions, expected, atol=1e-12)
    np.testing.assert_allclose(grip.rotations, turns.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(grip.opening, 2 * FINGER, atol=1e-12)
    np.testing.assert_array_equal(grip.times, TIMES)
    assert grip.radius == 0.02


def test_a_link_may_be_named_alone_and_the_base_left_out(folder, robot):
    robot(lambda r: (r.update(links={"grip": "hand"}), r.pop("base"), r.pop("urdf"), r.pop("joints")))
    grip = Capture.load(folder).handles["grip"]
    turns = Rotation.from_euler("z", TURN[:, None])
    np.testing.assert_allclose(grip.positions, [0, 0, 0.1] + turns.apply(np.stack([0.2 + REACH, 0 * REACH, 0 * REACH], axis=1)), atol=1e-12)
    assert grip.opening is None


def test_a_saved_capture_keeps_the_handle_without_the_robot(folder, robot, tmp_path):
    first = Capture.load(folder)
    first.save(tmp_path / "again")
    np.testing.assert_allclose(Capture.load(tmp_path / "again").handles["grip"].positions, first.handles["grip"].positions)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.update(links={}), "robot.links names no link"),
        (lambda r: r.update(links={"grip": 3}), "neither a link's name"),
        (lambda r: r.update(links={"grip": "foot"}), "no link 'foot'"),
        (lambda r: r["links"]["grip"].update(opening=["thumb"]), "no joint 'thumb'"),
        (lambda r: r["links"]["grip"].update(opening="finger"), "no list of joints"),
        (lambda r: r["links"]["grip"].update(point=[1]), "3 finite numbers"),
        (lambda r: r.update(base=[0, 0, 0]), "robot.base is no object"),
        (lambda r: r["base"].update(quaternion=[1, 1, 0, 0]), "has length 1.41"),
        (lambda r: r.update(urdf="../robot.urdf"), "leads out of the folder"),
        (lambda r: r.update(urdf=["robot.urdf"]), "no file's name"),
        (lambda r: r.update(joints="none.csv"), "no such file"),
        (lambda r: r.update(links={"hand": "hand"}), "stands in handles/ as well"),
    ],
)
def test_robots_that_cannot_be_are_told(folder, robot, change, said):
    robot(change)
    assert any(p.severity == "error" and said in f"{p.message} {p.remedy}" for p in check_capture(folder)), check_capture(folder)
    with pytest.raises(InputError):
        Capture.load(folder)


def test_joints_that_lack_a_column_or_lie_beyond_limits_are_told(folder, robot):
    (folder / "joints.csv").write_text("time,turn,reach,elbow\n0,0,0,0\n1,0,0,0\n")
    problems = check_capture(folder)
    assert any(p.file == "joints.csv" and p.message == "columns finger are missing" for p in problems)
    (folder / "joints.csv").write_text("time,turn,reach,finger,elbow\n0,0,0,0,0\n0.5,90,0,0,0\n")
    problems = check_capture(folder)
    assert any("row 1 lies beyond the robot's limits" in p.message and "radians" in p.remedy for p in problems)
    assert any("column 'elbow' is no joint" in p.message for p in problems)
    (folder / "robot.urdf").write_text("<robot")
    assert any(p.file == "robot.urdf" and p.severity == "error" for p in check_capture(folder))
