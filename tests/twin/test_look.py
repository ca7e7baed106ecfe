"""The look of a twin comes from the pictures that were fitted, and shows those that were not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from painted_beams import beam

import physsim as ps
from physsim import InputError
from physsim.appearance.asset import Asset
from physsim.appearance.metrics import psnr
from physsim.twin.look import fit_look, look_frames, with_look
from physsim.twin.pictures import painter
from physsim.twin.shrunk import averaged, shrunk_camera, spread_frames


def simulated(film):
    return {int(f): film.positions[f] for f in film.capture.fit}


def body_psnr(film, asset, frame):
    """Over the pixels that the body covers in either picture."""
    colour, alpha, _ = painter(asset)(film.capture.cameras["front"], film.positions[frame])
    mask = film.capture.mask["front"][frame]
    reference = film.capture.colour["front"][frame] * mask[..., None]
    return float(psnr(torch.as_tensor(colour), torch.as_tensor(reference), torch.as_tensor(mask | (alpha > 0.5))))


def test_a_look_shows_frames_that_it_was_not_fitted_to():
    film = beam()
    look = fit_look(film.capture, film.mesh, simulated(film), splats=500, iterations=200)
    asset = with_look(Asset("beam", film.mesh, film.material), look)
    values = [body_psnr(film, asset, f) for f in film.capture.test]
    print(values)
    assert min(values) > 22.0
    assert with_look(asset, None) is asset


def test_a_fit_of_a_look_goes_on_from_its_checkpoint_to_the_same_splats(tmp_path):
    film = beam()

    class Killed(Exception):
        pass

    def kill(done):
        if done.iteration >= 100:
            raise Killed

    given = {"splats": 200, "iterations": 200, "checkpoint": tmp_path / "look.npz"}
    with pytest.raises(Killed):
        fit_look(film.capture, film.mesh, simulated(film), progress=kill, **given)
    again = fit_look(film.capture, film.mesh, simulated(film), **given)
    whole = fit_look(film.capture, film.mesh, simulated(film), splats=200, iterations=200)
    assert torch.equal(again.splats.means, whole.splats.means) and torch.equal(again.splats.harmonics, whole.splats.harmonics)


def test_pictures_are_cut_to_the_body_and_cameras_follow():
    film = beam()
    frames = look_frames(film.capture, film.mesh, simulated(film))
    whole = film.capture.cameras["front"]
    for frame in frames:
        number = int(frame.name.split()[1])
        x = film.positions[number]
        assert frame.camera.width < whole.width and frame.camera.height < whole.height
        shift = np.array(whole.centre) - np.array(frame.camera.centre)
        np.testing.assert_allclose(whole.project(x)[0] - frame.camera.project(x)[0], np.broadcast_to(shift, (len(x), 2)), atol=1e-9)
        column, row = shift.round().astype(int)
        picture = film.capture.colour["front"][number]
        cut = picture[row : row + frame.camera.height, column : column + frame.camera.width]
        assert np.array_equal(cut, frame.image.numpy())
        assert frame.mask.numpy().sum() == film.capture.mask["front"][number].sum()


def test_without_masks_the_simulated_body_tells_what_is_body_and_depth_what_stands_before_it():
    film = beam()
    bare = replace(film.capture, mask={})
    for given, cut in zip(
        look_frames(bare, film.mesh, simulated(film)), look_frames(film.capture, film.mesh, simulated(film)), strict=True
    ):
        assert abs(given.mask.numpy().sum() - cut.mask.numpy().sum()) < 0.05 * cut.mask.numpy().sum()
    depth = [d.copy() for d in film.capture.depth["front"]]
    for d in depth:
        d[:, :80] = 0.1  # a hand
    behind = replace(film.capture, mask={}, depth={"front": depth})
    frame = look_frames(behind, film.mesh, simulated(film))[0]
    column = round(80 - (film.capture.cameras["front"].centre[0] - frame.camera.centre[0]))
    assert frame.mask.numpy()[:, :column].sum() == 0.0 and frame.mask.numpy()[:, column:].sum() > 100.0


def test_captures_without_pictures_of_the_body_are_refused():
    film = beam()
    with pytest.raises(InputError, match="no colour"):
        look_frames(replace(film.capture, colour={}), film.mesh, simulated(film))
    away = {f: x + [5.0, 0.0, 0.0] for f, x in simulated(film).items()}
    with pytest.raises(InputError, match="no picture shows"):
        look_frames(replace(film.capture, mask={}), film.mesh, away)
    none = replace(film.capture, colour={"front": [None] * 24})
    with pytest.raises(InputError, match="no picture shows"):
        look_frames(none, film.mesh, simulated(film))


def test_a_rod_gets_a_look_too():
    line = np.stack([np.linspace(0, 0.16, 9), np.full(9, 0.02), np.full(9, 0.02)], axis=1)
    curve = ps.Curve.straight(line[0], line[-1], 8)
    film = beam()
    frames = {0: curve.points}
    look = fit_look(film.capture, curve, frames, radius=0.02, splats=200, iterations=20)
    assert len(look.splats) > 150


def test_smaller_pictures_show_the_same_from_the_smaller_camera():
    lens = ps.Camera(64, 48, (60.0, 60.0), (31.5, 23.5), np.eye(3), np.zeros(3))
    small = shrunk_camera(lens, 16)
    assert (small.width, small.height) == (16, 12)
    point = np.array([[0.1, -0.05, 1.0]])
    np.testing.assert_allclose((small.project(point)[0] + 0.5) * 4, lens.project(point)[0] + 0.5)
    picture = np.arange(48 * 64 * 3, dtype=np.float32).reshape(48, 64, 3)
    np.testing.assert_allclose(averaged(picture, small), picture.reshape(12, 4, 16, 4, 3).mean(axis=(1, 3)), rtol=1e-6)
    assert averaged(picture[..., 0] > 100, small).shape == (12, 16)
    assert shrunk_camera(lens, 64) is lens


def test_spread_frames_keep_the_first_and_the_last():
    assert spread_frames(range(10), 20).tolist() == list(range(10))
    chosen = spread_frames([3, 5, 9, 11, 40], 3)
    assert chosen[0] == 3 and chosen[-1] == 40 and len(chosen) == 3
