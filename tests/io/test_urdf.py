"""Robots come in whole and checked, or with a clear error; what crashes other readers stays outside."""

import os
import struct
import time
import warnings

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io.urdf import load_urdf, write_urdf

MASS = '<mass value="1"/>'
INERTIA = '<inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/>'
BOX = '<box size="0.1 0.2 0.3"/>'


def link(name, mass=MASS, inertia=INERTIA, shape=BOX):
    return f'<link name="{name}"><inertial>{mass}{inertia}</inertial><collision><geometry>{shape}</geometry></collision></link>'


def joint(name, parent, child, kind="revolute", inside='<limit lower="-1" upper="1" effort="1" velocity="1"/>'):
    ends = f'<parent link="{parent}"/><child link="{child}"/><axis xyz="0 0 2"/>'
    return f'<joint name="{name}" type="{kind}">{ends}{inside}</joint>'


def robot(*parts):
    return f'<robot name="r">{"".join(parts)}</robot>'


A, B, AB = link("a"), link("b"), joint("ab", "a", "b")


def chain(count, name="l{}"):
    names = [name.format(i) for i in range(count)]
    joints = [joint(f"j{i}", names[i], names[i + 1]) for i in range(count - 1)]
    return robot(*[f'<link name="{n}"/>' for n in names], *joints)


def write(folder, text, name="r.urdf"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def bomb():
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    return f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a0 "aaaaaaaaaa">{entities}]><robot name="&a9;">{A}</robot>'


FOREIGN = f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]><robot name="&x;">{A}</robot>'
MOVED = robot(A, B, joint("ab", "a", "b", inside='<mimic joint="ab"/><limit/>'))
MIMICS = [joint(f"j{i}", "a", "bcd"[i], "continuous", f'<mimic joint="j{i + 1}"/>' if i < 2 else "") for i in range(3)]

REFUSED = {
    "nothing": ("", "is empty"),
    "noise": (bytes(range(256)) * 16, "is not XML"),
    "cut off": (robot(A, B, AB)[:400], "is not XML"),
    "another root": ("<sdf/>", "outermost element is <sdf>"),
    "macros": (robot(A, "<xacro:include/>"), "expand them first"),
    "entity bomb": (bomb(), "document type"),
    "foreign entity": (FOREIGN, "document type"),
    "deep": ("<robot>" + "<a>" * 200_000 + "</a>" * 200_000 + "</robot>", "nested more than 64 deep"),
    "many elements": (robot("<a/>" * 200_001), "more than 200000 elements"),
    "no link": (robot(), "0 links"),
    "257 links": (chain(257), "257 links; 1 to 256"),
    "5,000 links": (chain(5000), "5000 links"),
    "cycle": (robot(A, B, link("c"), AB, joint("bc", "b", "c"), joint("cb", "c", "b")), "child of joints 'ab' and 'cb'"),
    "cycle apart": (robot(A, B, link("c"), joint("bc", "b", "c"), joint("cb", "c", "b")), "close a cycle through links [bc] -> [bc]"),
    "cycle of all": (robot(A, B, AB, joint("ba", "b", "a")), "close a cycle"),
    "joint to itself": (robot(A, joint("aa", "a", "a")), "close a cycle through links a"),
    "two roots": (robot(A, B), "exactly one link may"),
    "two parents": (robot(A, B, link("c"), joint("ac", "a", "c"), joint("bc", "b", "c")), "a link has one parent"),
    "missing link": (robot(A, joint("j", "a", "zzz")), "names child link 'zzz', which there is none of"),
    "no child": (robot(A, '<joint name="j" type="fixed"><parent link="a"/></joint>'), "lacks <child link="),
    "two links of a name": (robot(A, A, B, AB), "2 links are named 'a'"),
    "two joints of a name": (robot(A, B, link("c"), AB, joint("ab", "b", "c")), "2 joints are named 'ab'"),
    "a long name": (robot(link("L" * 200_000)), "of 200000 characters; a name has 1 to 128"),
    "a long robot": (f'<robot name="{"R" * 200_000}">{A}</robot>', "of 200000 characters"),
    "no name": (robot("<link/>"), "a link is named ''"),
    "odd name": (robot('<link name="a&#10;b"/>'), "cannot be printed"),
    "NaN size": (robot(link("a", shape='<box size="nan 1 1"/>')), "size = 'nan 1 1'; every number must be finite"),
    "infinite size": (robot(link("a", shape='<sphere radius="1e999"/>')), "must be finite"),
    "negative size": (robot(link("a", shape='<box size="-1 1 1"/>')), "every edge must be positive"),
    "no size": (robot(link("a", shape='<sphere radius="0"/>')), "every length must be positive"),
    "two numbers": (robot(link("a", shape='<box size="1 1"/>')), "3 numbers must stand there"),
    "a word": (robot(link("a", shape='<sphere radius="1_0"/>')), "radius = '1_0'; 1 number must"),
    "far": (robot(link("a", shape='<sphere radius="1e30"/>')), r"must lie in \[0, 100000\]"),
    "unknown shape": (robot(link("a", shape="<plane/>")), "holds <plane>; it must hold one of box"),
    "NaN mass": (robot(A, link("b", '<mass value="nan"/>'), AB), "link 'b': mass: value = 'nan'; every number must be finite"),
    "negative mass": (robot(A, link("b", '<mass value="-5"/>'), AB), r"value = -5; must lie in \[0, 1e\+06\]"),
    "huge mass": (robot(A, link("b", '<mass value="1e300"/>'), AB), r"value = 1e\+300; must lie"),
    "no mass": (robot(link("a", "")), "lacks <mass"),
    "NaN inertia": (robot(link("a", inertia=INERTIA.replace('izz="1"', 'izz="nan"'))), "izz = 'nan'"),
    "negative inertia": (robot(link("a", inertia=INERTIA.replace('ixy="0"', 'ixy="2"'))), "none may be negative"),
    "mass of no shape": (robot('<link name="a"><inertial><mass value="1"/></inertial></link>'), "neither inertia nor shape"),
    "moves nothing": (robot(A, '<link name="b"/>', AB), "nothing it carries has a mass"),
    "limits": (robot(A, B, joint("ab", "a", "b", inside='<limit lower="1" upper="-1"/>')), "lower limit 1 lies above"),
    "NaN limit": (robot(A, B, joint("ab", "a", "b", inside='<limit lower="nan" upper="1"/>')), "lower = 'nan'"),
    "no limits": (robot(A, B, joint("ab", "a", "b", inside="")), "lacks <limit"),
    "negative effort": (robot(A, B, joint("ab", "a", "b", inside='<limit effort="-1"/>')), "effort = -1"),
    "negative damping": (robot(A, B, joint("ab", "a", "b", inside='<limit/><dynamics damping="-1"/>')), "damping = -1"),
    "no axis": (robot(A, B, AB.replace("0 0 2", "0 0 0")), "axis = .0.0, 0.0, 0.0.; it must have a length"),
    "unknown kind": (robot(A, B, joint("ab", "a", "b", "floating")), "of type 'floating'; it must be one of revolute"),
    "mimics itself": (MOVED, "must be another joint"),
    "mimics nobody": (MOVED.replace('joint="ab"', 'joint="zz"'), "mimics 'zz'"),
    "mimics in a row": (robot(A, B, link("c"), link("d"), *MIMICS), "let each follow one that leads"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_description_is_refused(tmp_path, case):
    text, said = REFUSED[case]
    start = time.perf_counter()
    with pytest.raises(InputError, match=said) as caught:
        load_urdf(write(tmp_path, text))
    assert "r.urdf" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert time.perf_counter() - start < 5.0


def mesh(name, scale="1 1 1"):
    return robot(link("a", shape=f'<mesh filename="{name}" scale="{scale}"/>'))


def obj(*faces, points="v 0 0 0\nv 1 0 0\nv 0 1 0\n"):
    return points + "".join(f"f {face}\n" for face in faces)


FACET = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
BAD_MESHES = {
    "far index.obj": (obj("1 2 999999999"), r"indices must lie in 0\.\.2"),
    "index before.obj": (obj("-50 2 3"), "indices must lie"),
    "index 0.obj": (obj("0 1 2"), "points are counted from 1"),
    "nan.obj": (obj("1 2 3", points="v nan nan nan\nv 1 0 0\nv 0 1 0\n"), "every coordinate must be finite"),
    "inf.obj": (obj("1 2 3", points="v 0 0 0\nv inf 0 0\nv 0 1 0\n"), "every coordinate must be finite"),
    "far.obj": (obj("1 2 3", points="v 0 0 0\nv 1e308 0 0\nv 0 1 0\n"), "at most 100000 m are read"),
    "empty.obj": ("", "is empty"),
    "no faces.obj": (obj(), "no triangle"),
    "no area.obj": (obj("1 2 2"), "no triangle has an area"),
    "noise.obj": (bytes(range(256)) * 8, "noise.obj"),
    "zip.obj": (b"PK\3\4" + bytes(500), "zip.obj"),
    "huge count.stl": (bytes(80) + struct.pack("<I", 0xFFFFFFF0) + bytes(50), "cut off or no STL"),
    "cut off.stl": (bytes(80) + struct.pack("<I", 1000) + bytes(500), "cut off or no STL"),
    "short.stl": (bytes(20), "cut off or no STL"),
    "no facets.stl": (bytes(84), "points of shape"),
    "empty.stl": (b"", "is empty"),
    "cut off text.stl": ("solid s\n" + FACET + FACET[:50], "cut off or no STL"),
    "nan.stl": (bytes(80) + struct.pack("<I", 1) + struct.pack("<12f", *[float("nan")] * 12) + bytes(2), "must be finite"),
    "noise.ply": (bytes(range(256)), "does not declare both"),
    "noise.dae": (bytes(range(256)), "is not XML"),
    "bomb.dae": (bomb(), "document type"),
    "empty.dae": ("<COLLADA/>", "points of shape .0, 3."),
    "scene.glb": (b"glTF" + struct.pack("<III", 2, 0xFFFFFFFF, 0xFFFFFFF0), "ending '.glb' is not read"),
    "none.stl": (None, "no such file"),
}


@pytest.mark.parametrize("name", BAD_MESHES)
def test_a_robot_with_a_bad_mesh_is_refused(tmp_path, name):
    content, said = BAD_MESHES[name]
    if content is not None:
        write(tmp_path, content, name)
    with pytest.raises(InputError, match=said):
        load_urdf(write(tmp_path, mesh(name)))


OUTSIDE = ["../out.obj", "in/../../out.obj", "package://../out.obj", "package://x/../../out.obj", "link.obj", "folder/out.obj"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_meshes_outside_the_folder_are_not_read(tmp_path, name):
    write(tmp_path, obj("1 2 3"), "out.obj")
    inside = tmp_path / "robot"
    (inside / "in").mkdir(parents=True)
    (inside / "link.obj").symlink_to(tmp_path / "out.obj")
    (inside / "folder").symlink_to(tmp_path, target_is_directory=True)
    path = write(inside, mesh(name))
    with pytest.raises(InputError, match="leaves the URDF's folder"):
        load_urdf(path)
    if "x/" not in name:
        assert len(load_urdf(path, [tmp_path]).links[0].collisions[0].triangles) == 1


BAD_NAMES = {
    "/etc/passwd.obj": "is absolute",
    "file:///etc/a.obj": "only relative paths",
    "http://host/a.obj": "only relative paths",
    "a\\b.obj": "only relative paths with /",
    "package:///etc/a.obj": "is absolute",
    "a" * 5000 + ".obj": "5004 characters",
    "a" * 500 + ".obj": "no such file",
    "../../../etc/passwd": "ending '' is not read",
    "": "0 characters",
}


@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: name[:20])
def test_names_of_meshes_that_are_no_plain_paths_are_refused(tmp_path, name):
    with pytest.raises(InputError, match=BAD_NAMES[name]):
        load_urdf(write(tmp_path, mesh(name)))


def test_a_mesh_is_scaled_and_a_mirrored_one_keeps_its_outside_out(tmp_path):
    write(tmp_path, obj("1 2 3", "1 3 4", points="v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 1 1\nv 9 9 9\n"), "m.obj")
    for sign in (1, -1):
        shape = load_urdf(write(tmp_path, mesh("m.obj", f"2 3 {4 * sign}"))).links[0].collisions[0]
        assert shape.points.shape == (4, 3)
        a, b, c = shape.points[shape.triangles[0]]
        np.testing.assert_allclose(np.cross(b - a, c - a), [0, 0, 6 * sign])
    with pytest.raises(InputError, match="no factor may be 0"):
        load_urdf(write(tmp_path, mesh("m.obj", "1 0 1")))


def test_packages_are_found_in_the_folders_that_are_given(tmp_path):
    (tmp_path / "robots" / "arm" / "meshes").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "robots" / "arm" / "meshes", obj("1 2 3"), "m.obj")
    path = write(tmp_path / "elsewhere", mesh("package://arm/meshes/m.obj"))
    for folders in ([tmp_path / "robots"], [tmp_path / "robots" / "arm"], str(tmp_path / "robots")):
        assert load_urdf(path, folders).links[0].collisions[0].kind == "mesh"
    with pytest.raises(InputError, match="give package_folders"):
        load_urdf(path)
    with pytest.raises(InputError, match="is no folder"):
        load_urdf(path, [tmp_path / "none"])


def test_a_valid_robot_on_one_line_of_17_kilobytes_loads(tmp_path):
    text = robot(*[link(f"l{i}") for i in range(60)], *[joint(f"j{i}", f"l{i}", f"l{i + 1}") for i in range(59)])
    assert len(text.encode()) > 17_000
    assert "\n" not in text
    robot_ = load_urdf(write(tmp_path, text))
    assert len(robot_.links) == 60
    assert robot_.root == "l0"
    assert len(load_urdf(write(tmp_path, chain(256))).links) == 256


def test_a_file_written_anew_under_the_same_name_is_read_anew(tmp_path):
    for mass in (1.0, 2.0):
        assert load_urdf(write(tmp_path, robot(link("a", f'<mass value="{mass}"/>')))).links[0].mass == mass


def test_every_entry_of_a_description_is_read(tmp_path):
    text = robot(
        '<material name="red"><color rgba="1 0 0 2"/></material>',
        '<link name="a"><visual><geometry><capsule radius="0.1" length="0.5"/></geometry><material name="red"/></visual>'
        '<visual><geometry><sphere radius="0"/></geometry></visual></link>',
        '<link name="b"><inertial><origin xyz="1 2 3" rpy="0 0 1.5707963267948966"/><mass value="2"/>'
        '<inertia ixx="1" iyy="2" izz="2.5" ixy="0.1"/></inertial></link>',
        joint("ab", "a", "b", "prismatic", '<origin xyz="0 0 1" rpy="0.1 0.2 0.3"/><limit upper="2" effort="3"/><dynamics damping="4"/>'),
    )
    got = load_urdf(write(tmp_path, text))
    (capsule,) = got.link("a").visuals
    assert (capsule.kind, capsule.size, capsule.color) == ("capsule", (0.1, 0.5), (1, 0, 0, 1))
    b, ab = got.link("b"), got.joint("ab")
    assert (b.mass, b.center.tolist()) == (2, [1, 2, 3])
    np.testing.assert_allclose(b.inertia, [[2, -0.1, 0], [-0.1, 1, 0], [0, 0, 2.5]], atol=1e-15)
    assert (ab.lower, ab.upper, ab.effort, ab.velocity, ab.damping, ab.mimic) == (0, 2, 3, np.inf, 4, None)
    np.testing.assert_allclose(ab.axis, [0, 0, 1])
    from scipy.spatial.transform import Rotation

    np.testing.assert_allclose(ab.origin[:3, :3], Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_matrix(), atol=1e-15)
    with pytest.raises(InputError, match="there is none of that name; it must be one of a, b"):
        got.link("c")


def test_an_inertia_of_no_body_becomes_the_nearest_possible_one_and_is_told(tmp_path, rng):
    from scipy.spatial.transform import Rotation

    turn = Rotation.random(random_state=rng.integers(1 << 30)).as_matrix()
    xx, xy, xz, _, yy, yz, _, _, zz = (turn @ np.diag([0.001, 0.002, 0.01]) @ turn.T).ravel()
    given = f'<inertia ixx="{xx}" ixy="{xy}" ixz="{xz}" iyy="{yy}" iyz="{yz}" izz="{zz}"/>'
    with pytest.warns(UserWarning, match=r"no body has the inertia given for a \(by 35 %\)"):
        got = load_urdf(write(tmp_path, robot(link("a", inertia=given)))).links[0].inertia
    # Second moments tr/2 - I = (0.0055, 0.0045, -0.0035): the last becomes 0.
    np.testing.assert_allclose(np.linalg.eigvalsh(got), [0.0045, 0.0055, 0.01], rtol=1e-9)
    with pytest.warns(UserWarning, match="no inertia is given for a"):
        got = load_urdf(write(tmp_path, robot(link("a", inertia="")))).links[0].inertia
    np.testing.assert_allclose(got, np.diag([0.13, 0.1, 0.05]) / 12, atol=1e-17)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rod = load_urdf(write(tmp_path, robot(link("a", inertia='<inertia ixx="1" iyy="1"/>')))).links[0].inertia
    np.testing.assert_allclose(rod, np.diag([1, 1, 0]), atol=1e-15)


REAL = ["franka_panda/panda", "kuka_iiwa/model", "xarm/xarm6_with_gripper", "r2d2", "a1/a1", "laikago/laikago_toes", "racecar/racecar"]


@pytest.fixture
def bullet():
    """PyBullet with a world of its own; arguments of each call gain the client."""
    pybullet = pytest.importorskip("pybullet")
    client = pybullet.connect(pybullet.DIRECT)
    yield lambda name, *arguments, **options: getattr(pybullet, name)(*arguments, **options, physicsClientId=client)
    pybullet.disconnect(client)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.filterwarnings("ignore:.*inertia")
def test_real_robots_load_as_pybullet_reads_them(bullet, name):
    path = os.path.join(pytest.importorskip("pybullet_data").getDataPath(), f"{name}.urdf")
    ours = load_urdf(path)
    body = bullet("loadURDF", path)
    theirs = {info[1].decode(): info for i in range(bullet("getNumJoints", body)) for info in [bullet("getJointInfo", body, i)]}
    assert theirs.keys() == {joint.name for joint in ours.joints}
    kinds = {0: {"revolute", "continuous"}, 1: {"prismatic"}, 4: {"fixed"}}
    for joint in ours.joints:
        info = theirs[joint.name]
        assert joint.kind in kinds[info[2]]
        assert joint.child == info[12].decode()
        assert ours.link(joint.child).mass == bullet("getDynamicsInfo", body, info[0])[0]
        if joint.kind in ("revolute", "prismatic"):
            assert [joint.lower, joint.upper, joint.effort, joint.damping] == [*info[8:11], info[6]]
        if joint.kind != "fixed":
            np.testing.assert_allclose(joint.axis, info[13], atol=1e-6)
    assert all(joint.parent in {ours.root, *(j.child for j in ours.tree[:i])} for i, joint in enumerate(ours.tree))


@pytest.mark.parametrize("name", REAL)
@pytest.mark.filterwarnings("ignore:.*inertia")
def test_real_robots_come_back_from_the_writer(tmp_path, name):
    first = load_urdf(os.path.join(pytest.importorskip("pybullet_data").getDataPath(), f"{name}.urdf"))
    written = write_urdf(first, tmp_path / "out")
    assert max(map(len, written.read_text().splitlines())) < 400
    again = load_urdf(written)
    assert [link.name for link in again.links] == [link.name for link in first.links]
    for one, two in zip(first.links, again.links):
        assert one.mass == two.mass
        np.testing.assert_allclose(two.center, one.center)
        np.testing.assert_allclose(two.inertia, one.inertia, atol=1e-12)
        for a, b in zip(one.collisions + one.visuals, two.collisions + two.visuals, strict=True):
            assert (a.kind, a.size, a.color) == (b.kind, b.size, b.color)
            np.testing.assert_allclose(b.origin, a.origin, atol=1e-12)
            if a.kind == "mesh":
                np.testing.assert_allclose(b.points[b.triangles].mean(axis=(0, 1)), a.points[a.triangles].mean(axis=(0, 1)), atol=1e-7)
    for one, two in zip(first.joints, again.joints):
        assert (one.name, one.kind, one.parent, one.child, one.mimic) == (two.name, two.kind, two.parent, two.child, two.mimic)
        limits = [[j.lower, j.upper, j.effort, j.velocity, j.damping, j.friction] for j in (one, two)]
        assert limits[0] == limits[1]
        np.testing.assert_allclose(two.origin, one.origin, atol=1e-12)
        np.testing.assert_allclose(two.axis, one.axis)


def test_pybullet_takes_what_the_writer_wrote(tmp_path, bullet):
    pybullet = pytest.importorskip("pybullet")
    text = robot(
        link("base", '<mass value="3"/>', '<inertia ixx="0.02" ixy="0.004" iyy="0.03" izz="0.04"/>'),
        *[link(f"l{i}") for i in range(40)],
        *[joint(f"j{i}", f"l{i - 1}" if i else "base", f"l{i}") for i in range(40)],
    )
    path = write_urdf(load_urdf(write(tmp_path, text)), tmp_path / "out")
    body = bullet("loadURDF", str(path), flags=pybullet.URDF_USE_INERTIA_FROM_FILE)
    assert bullet("getNumJoints", body) == 40
    mass, _, moments = bullet("getDynamicsInfo", body, -1)[:3]
    assert mass == 3
    wanted = np.linalg.eigvalsh([[0.02, 0.004, 0], [0.004, 0.03, 0], [0, 0, 0.04]])
    np.testing.assert_allclose(np.sort(moments), wanted, rtol=1e-6)


def test_the_panda_loads_within_a_second():
    path = os.path.join(pytest.importorskip("pybullet_data").getDataPath(), "franka_panda/panda.urdf")
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        load_urdf(path)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2.0  # 0.6 s on two idle cores


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_urdf(load_urdf(write(tmp_path, robot(A))), write(tmp_path, "", "file"))


def test_frames_alone_need_neither_masses_nor_meshes(tmp_path):
    shown = '<visual><geometry><mesh filename="package://elsewhere/a.stl"/></geometry></visual>'
    odd = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="100" ixy="0" ixz="0" iyz="0"/></inertial>'
    path = write(tmp_path, robot(f'<link name="a">{shown}</link>', f'<link name="b">{odd}</link>', AB))
    with pytest.raises(InputError, match=r"elsewhere/a\.stl"):
        load_urdf(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        description = load_urdf(path, frames_only=True)
    assert [x.name for x in description.links] == ["a", "b"] and [x.name for x in description.joints] == ["ab"]
    assert all(x.mass == 0.0 and not x.visuals for x in description.links)
