"""Inertia that a file gives or lacks: what a body can have stays, what it cannot is mended or refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from physsim.errors import InputError
from physsim.io.description import Geometry
from physsim.io.inertia import box_inertia, possible_inertia
from physsim.io.mesh_paths import allowed_folders, mesh_file


def test_an_inertia_that_a_body_can_have_stays_as_it_is(rng):
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    inertia = turn @ np.diag([1.0, 2.0, 2.5]) @ turn.T
    found, change = possible_inertia("r", inertia)
    assert found is inertia
    assert change == 0.0


def test_a_moment_above_the_sum_of_the_others_becomes_their_sum():
    found, change = possible_inertia("r", np.diag([1.0, 1.0, 4.0]))
    moments = np.linalg.eigvalsh(found)
    assert moments[2] == pytest.approx(moments[0] + moments[1])
    assert 0.0 < change < 0.5


def test_a_negative_moment_is_refused():
    with pytest.raises(InputError, match="none may be negative: check the signs"):
        possible_inertia("r", np.diag([-0.1, 1.0, 1.0]))


def test_a_box_about_turned_and_moved_shapes_has_the_inertia_of_its_edges():
    origin = np.eye(4)
    origin[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    origin[:3, 3] = (1.0, 2.0, 3.0)  # the place does not count
    found = box_inertia(12.0, (Geometry("box", (0.1, 0.2, 0.3), origin),))
    np.testing.assert_allclose(found, np.diag([0.1**2 + 0.3**2, 0.2**2 + 0.3**2, 0.2**2 + 0.1**2]), atol=1e-14)
    lying = np.eye(4)
    lying[:3, :3] = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    found = box_inertia(12.0, (Geometry("cylinder", (0.1, 0.5), lying),))  # along x: edges 0.5, 0.2, 0.2
    np.testing.assert_allclose(np.diag(found), [0.08, 0.29, 0.29], atol=1e-9)
    assert box_inertia(1.0, ()) is None


def test_meshes_are_looked_for_in_the_folders_that_are_allowed(tmp_path):
    (tmp_path / "arm" / "meshes").mkdir(parents=True)
    (tmp_path / "urdf").mkdir()
    file = tmp_path / "arm" / "meshes" / "a.stl"
    file.write_bytes(b"")
    folders = allowed_folders(tmp_path / "urdf" / "r.urdf", tmp_path / "arm")
    assert folders == [(tmp_path / "urdf").resolve(), (tmp_path / "arm").resolve()]
    assert mesh_file("r", "package://arm/meshes/a.stl", folders) == file.resolve()
    for name, text in (("meshes/a.stl", "no such file"), ("../arm/meshes/b.txt", "is not read"), ("/a.stl", "is absolute")):
        with pytest.raises(InputError, match=text):
            mesh_file("r", name, folders)
    with pytest.raises(InputError, match="name folders that are there"):
        allowed_folders(tmp_path / "r.urdf", [tmp_path / "nowhere"])
