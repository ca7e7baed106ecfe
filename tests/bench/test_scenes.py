import numpy as np
import pytest

from physsim.bench import scenes


@pytest.mark.parametrize("side", [3, 5, 32])
def test_cloth_has_every_spring_once_at_its_offset(side):
    cloth = scenes.cloth(side)
    expected = {
        (j * side + i, (j + dy) * side + i + dx)
        for dx, dy in scenes.SPRING_OFFSETS
        for j in range(side)
        for i in range(side)
        if 0 <= i + dx < side and j + dy < side
    }
    assert len(cloth.edges) == len(expected)
    assert {tuple(edge) for edge in cloth.edges.tolist()} == expected
    offset = cloth.points[cloth.edges[:, 1]] - cloth.points[cloth.edges[:, 0]]
    wanted = np.array(scenes.SPRING_OFFSETS)[cloth.offset_index] / (side - 1)
    np.testing.assert_allclose(offset[:, :2], wanted, atol=1e-12)


def test_cloth_of_32_has_5826_springs_and_is_pinned_at_two_corners():
    cloth = scenes.cloth(32)
    assert len(cloth.edges) == 5826
    np.testing.assert_allclose(cloth.points[cloth.pins], [[0, 0, 0], [1, 0, 0]])
    assert set(cloth.share) == {1.0, scenes.BEND_SHARE}


def test_cloth_triangles_cover_one_square_metre_facing_up():
    cloth = scenes.cloth(8)
    a, b, c = (cloth.points[cloth.triangles[:, q]] for q in range(3))
    area = 0.5 * np.cross(b - a, c - a)
    assert (area[:, 2] > 0.0).all()
    assert area[:, 2].sum() == pytest.approx(1.0)


@pytest.mark.parametrize(("tetrahedra", "count"), [(40, 40), (500, 495), (4000, 4000)])
def test_beam_tetrahedra_fill_the_bar_and_share_their_faces(tetrahedra, count):
    beam = scenes.beam(tetrahedra)
    volumes = scenes.signed_volumes(beam.points, beam.cells)
    assert len(beam.cells) == count
    assert (volumes > 0.0).all()
    assert volumes.sum() == pytest.approx(np.prod(scenes.BEAM_SIZE))
    faces = np.sort(beam.cells[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3), axis=1)
    _, seen = np.unique(faces, axis=0, return_counts=True)
    assert seen.max() == 2
    nx, ny, nz = scenes.BEAM_CELLS[tetrahedra]
    assert (seen == 1).sum() == 4 * (nx * ny + ny * nz + nz * nx)
    assert (beam.points[beam.tip, 0] == 1.0).all()
    assert len(beam.clamped) == len(beam.tip) == (ny + 1) * (nz + 1)
