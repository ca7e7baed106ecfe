"""Parts of a body: patches, how they are merged, and borders that move."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.fields import cells_of, region_basis, smooth_columns
from physsim.twin.field_maps import border_field
from physsim.twin.parts import neighbours, partitions, patches, signed_distances, tidy


@pytest.fixture
def box():
    """A bar of 10 x 2 x 2 cells, 10 mm each."""
    return cells_of(ps.box_mesh((0.1, 0.02, 0.02), (10, 2, 2)))


def test_patches_are_compact_cover_the_body_and_come_out_the_same_again(box):
    labels = patches(box, 8, seed=3)
    assert (labels == patches(box, 8, seed=3)).all()
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))
    centres = box.centres()
    middles = np.stack([centres[labels == p].mean(axis=0) for p in range(labels.max() + 1)])
    nearest = np.linalg.norm(centres[:, None] - middles[None], axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.9


def test_patches_are_sorted_into_the_parts_of_patches_that_the_data_tell_apart(box, rng):
    """Values 0, 1.6, 0 along the bar, measured through random rows; the last patch is seen by none and goes with its neighbour."""
    labels = (box.centres()[:, 0] / 0.0125).astype(int)
    truth = np.array([0.0, 0, 0, 1.6, 1.6, 0, 0, 0])
    rows = rng.normal(size=(40, 8)) * 30
    rows[:, 7] = 0.0
    noise = rng.normal(size=40)
    best = np.linalg.lstsq(rows[:, :7], rows[:, :7] @ truth[:7] + noise, rcond=None)[0]
    best = np.append(best, 0.9)
    sizes = np.bincount(labels, box.sizes)
    triangle = np.linalg.qr(rows, mode="r")
    path = partitions(triangle, triangle @ best, best, sizes, neighbours(box, labels), 3)
    assert [len(m.values) for m in path] == [1, 2, 3]
    assert path[0].cost > path[1].cost >= path[2].cost
    two = path[1]
    assert (two.labels[[3, 4]] == two.labels[3]).all()
    assert (two.labels[[0, 1, 2, 5, 6, 7]] == 1 - two.labels[3]).all()
    assert two.values[two.labels[3]] - two.values[two.labels[0]] == pytest.approx(1.6, abs=0.1)


def test_a_signed_distance_is_that_from_the_plane_between_two_parts(box):
    x = box.centres()[:, 0]
    labels = (x > 0.05).astype(int)
    found = signed_distances(box, labels)
    assert ((found[:, 1] > 0) == (labels == 1)).all()
    assert found[:, 0] == pytest.approx(-found[:, 1])
    far = np.abs(x - 0.05) > 0.02
    assert np.abs(found[far, 1]) == pytest.approx(np.abs(x[far] - 0.05), rel=0.2)


def test_small_islands_go_over_to_what_surrounds_them(box):
    x = box.centres()[:, 0]
    labels = (x > 0.05).astype(int)
    spoilt = labels.copy()
    spoilt[np.argmin(np.abs(x - 0.02))] = 1
    assert (tidy(box, spoilt, 0.03) == labels).all()


def test_a_border_that_moves_changes_the_field_as_its_slopes_say(box, rng):
    labels = np.digitize(box.centres()[:, 0], [0.03, 0.07])
    modes, rates = smooth_columns(box, 4)
    field = border_field(box, labels, [0.0, 1.0, -0.5], modes, rates, 0.01)
    assert len(field.variables()) == 3 + 2 * 4 == len(field.priors)
    z = np.concatenate([[0.1, 1.2, -0.4], 0.002 * rng.normal(size=8)])
    slopes = field.slopes(z)
    for i in range(len(z)):
        h = np.zeros(len(z))
        h[i] = 1e-6
        difference = (field.log_values(z + h) - field.log_values(z - h)) / 2e-6
        assert slopes[:, i] == pytest.approx(difference, abs=1e-6 * max(1.0, np.abs(difference).max()))


def test_a_border_goes_where_its_displacement_says(box):
    """A plane at 50 mm that is moved outwards by a constant 10 mm lies at 60 mm, or a blended cell beside it."""
    x = box.centres()[:, 0]
    modes, rates = smooth_columns(box, 1)
    field = border_field(box, (x < 0.05).astype(int), [0.0, 1.0], modes, rates, 0.005)
    assert (field.labels(np.zeros(3)) == (x < 0.05)).all()
    moved = field.labels(np.array([0.0, 1.0, 0.01]))
    assert (moved == (x < 0.06)).mean() > 0.97
    assert region_basis(moved).shape == (len(box), 2)


def test_a_field_about_the_borders_it_has_moved_to_is_the_same_field(box, rng):
    labels = np.digitize(box.centres()[:, 0], [0.03, 0.07])
    modes, rates = smooth_columns(box, 4)
    field = border_field(box, labels, [0.0, 1.0, -0.5], modes, rates, 0.01)
    z = np.concatenate([[0.1, 1.2, -0.4], 0.002 * rng.normal(size=8)])
    moved = field.moved(z)
    assert moved.log_values(moved.still()) == pytest.approx(field.log_values(z))
    further = np.concatenate([z[:3], 0.001 * rng.normal(size=8)])
    assert moved.log_values(further) == pytest.approx(field.log_values(further + np.r_[0, 0, 0, z[3:]]))
