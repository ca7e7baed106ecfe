"""`physsim render`: films and pictures show bodies where a camera sees them, and what cannot be drawn is said in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import physsim as ps
from physsim import cli
from physsim.appearance.camera import Camera
from physsim.appearance.color import ColorNetwork
from physsim.appearance.run import Run, RunBody, RunLink
from physsim.report.video import encoder_path
from physsim.viewer.film import _cameras, _moments, film
from physsim.viewer.stage import Stage, rounded_up, strain_colours

needs_encoder = pytest.mark.skipif(encoder_path() is None, reason="no video encoder")
CAMERA = Camera.look_at((0.15, -0.4, 0.1), (0.05, 0.0, 0.05), width=160, height=120, angle=40.0)


def picture(path):
    return np.array(Image.open(path).convert("RGB")).astype(int)


def red(pixels):
    return (pixels[..., 0] - pixels[..., 1] > 40) & (pixels[..., 0] - pixels[..., 2] > 40)


def pixel(camera, place):
    (x, y), *_ = camera.project(np.array([place]))[0]
    return x, y


def test_a_picture_shows_the_last_frame_where_the_camera_sees_it(sliding, tmp_path):
    seen = red(picture(film(sliding, tmp_path / "out" / "it.png", camera=CAMERA)))
    x = sliding.positions(len(sliding) - 1)[0]
    middle = x.mean(axis=0)
    rows, columns = np.nonzero(seen)
    corners = np.array([pixel(CAMERA, p) for p in x])
    assert [columns.min(), rows.min()] == pytest.approx(corners.min(axis=0), abs=1.5)
    assert [columns.max(), rows.max()] == pytest.approx(corners.max(axis=0), abs=1.5)
    assert seen[tuple(np.round(pixel(CAMERA, middle)[::-1]).astype(int))]


def test_an_asset_shows_its_splats_and_its_mesh_on_demand(asset, tmp_path):
    front = {"camera": "front", "size": (200, 150)}
    splats = picture(film(asset, tmp_path / "a.png", **front))
    mesh = picture(film(asset, tmp_path / "b.png", show="mesh", **front))
    empty = np.array(splats[0, 0])
    covered = [np.abs(image - empty).max(axis=-1) > 30 for image in (splats, mesh)]
    assert (covered[0] & covered[1]).sum() / (covered[0] | covered[1]).sum() > 0.85  # splats are softer at their edges
    assert red(splats)[covered[0]].mean() > 0.6  # its front is painted red
    assert not red(mesh).any()


def test_splats_move_with_the_body(asset, tmp_path):
    body = RunBody("block", asset.mesh, asset=asset)
    x = asset.mesh.points
    run = Run.of_parts([0.0, 1.0], [body], [np.stack([x, x + [0.05, 0.0, 0.0]])])
    camera = Camera.look_at((0.05, -0.4, 0.05), (0.05, 0.0, 0.05), width=160, height=120, angle=40.0)
    columns = []
    for upto in (1, 2):
        part = Run.of_parts(run.times[:upto], [body], [np.stack([run.positions(f)[0] for f in range(upto)])])
        columns.append(np.nonzero(red(picture(film(part, tmp_path / "it.png", camera=camera))))[1].mean())
    moved = pixel(camera, [0.075, 0.0, 0.05])[0] - pixel(camera, [0.025, 0.0, 0.05])[0]
    assert columns[1] - columns[0] == pytest.approx(moved, rel=0.05)


def test_a_colour_network_adds_to_what_the_splats_show(asset, tmp_path):
    network = ColorNetwork(latent_count=0, width=4, seed=1)
    arrays = network.arrays()
    arrays["weight2"][2], arrays["bias2"][2] = 0.0, 0.8  # adds blue everywhere
    camera = Camera.look_at((0.025, -0.4, 0.05), (0.025, 0.0, 0.05), width=80, height=60, angle=40.0)
    plain = picture(film(asset, tmp_path / "a.png", camera=camera))[30, 40]
    blue = picture(film(replace(asset, network=arrays), tmp_path / "b.png", camera=camera))[30, 40]
    assert blue[2] - plain[2] == pytest.approx(0.8 * 255, abs=40)
    assert blue[0] == pytest.approx(plain[0], abs=3)
    fine = replace(asset, network=arrays, splats=asset.splats.to(torch.float64))
    assert np.abs(picture(film(fine, tmp_path / "d.png", camera=camera))[30, 40] - blue).max() <= 1
    damaged = replace(asset, network={"weight0": np.zeros((2, 2))})
    with pytest.raises(ps.InputError, match="missing arrays"):
        film(damaged, tmp_path / "c.png", camera=camera)


def test_strain_is_coloured_by_its_size(tmp_path):
    mesh = ps.sheet_mesh((0.1, 0.1), (4, 4))
    stretched = mesh.points * [1.5, 1.0, 1.0]
    run = Run.of_parts([0.0, 1.0], [RunBody("sheet", mesh)], [np.stack([mesh.points, stretched])])
    assert Stage(run).strain_range() == (0.0, rounded_up((1.5**2 - 1) / 2))
    above = Camera.look_at((0.075, 0.05, 0.4), (0.075, 0.05, 0.0), up=(0, 1, 0), width=100, height=80, angle=40.0)
    drawn = picture(film(run, tmp_path / "it.png", camera=above, show="strain"))
    colour = strain_colours(np.array(0.625), 0.7)  # viridis near its yellow end
    middle = drawn[40, 50] / 255
    assert np.argsort(middle).tolist() == np.argsort(colour).tolist()
    assert middle / np.linalg.norm(middle) == pytest.approx(colour / np.linalg.norm(colour), abs=0.02)


def test_links_stand_where_their_poses_put_them_and_hide_what_is_behind(tmp_path):
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (1, 1, 1), origin=(0.0, 0.2, 0.0))
    wall = ps.box_mesh((0.3, 0.01, 0.3), (1, 1, 1), origin=(-0.15, -0.005, -0.15))
    link = RunLink("wall", wall.points, wall.surface(), "#00ff00")
    camera = Camera.look_at((0.02, -0.5, 0.02), (0.02, 0.2, 0.02), width=120, height=90, angle=40.0)
    seen = []
    for place in ([0.0, 0.0, 0.0], [0.0, 0.6, 0.0]):  # before the block and behind it
        body = RunBody("block", mesh, colour="#d0605e")
        run = Run.of_parts([0.0], [body], [mesh.points[None]], [link], np.array([[place]]), np.array([[[1.0, 0.0, 0.0, 0.0]]]))
        seen.append(picture(film(run, tmp_path / "it.png", camera=camera)))
    green = [(image[..., 1] - image[..., 0] > 60).sum() for image in seen]
    assert not red(seen[0]).any()
    assert red(seen[1]).sum() > 50
    assert green[0] > green[1] > 0  # it is farther away, and partly hidden


@needs_encoder
def test_a_film_takes_as_long_as_the_run(sliding, tmp_path):
    import imageio_ffmpeg

    told = []
    written = film(sliding, tmp_path / "it.mp4", size=(64, 48), frames=11, tell=lambda *at: told.append(at))
    assert told == [(k, 11) for k in range(11)]
    reader = imageio_ffmpeg.read_frames(str(written))
    about = next(reader)
    assert about["size"] == (64, 48)
    assert about["duration"] == pytest.approx(1.1, abs=0.05)  # 11 pictures, 10 a second
    assert len(list(reader)) == 11


def test_the_moments_of_a_film_are_spread_over_the_run():
    times = np.array([0.0, 0.1, 0.2, 1.0])
    shown, fps = _moments(times, None)
    assert (len(shown), fps) == (31, pytest.approx(30.0))
    assert shown[[0, 3, 6, -1]].tolist() == [0, 1, 2, 3]
    assert np.array_equal(np.unique(shown), [0, 1, 2, 3])
    assert (shown[18], shown[19]) == (2, 3)  # 0.6 s is the middle between the last two
    assert _moments(times[:1], None)[0].tolist() == [0] * 120
    assert _moments(times, 1)[0].tolist() == [3]


def test_the_camera_goes_all_the_way_around_what_stands_still_and_a_little_around_a_run(asset, sliding):
    from physsim.viewer.subject import subject

    still = _cameras(Stage(subject(asset)), "orbit", (64, 48), 4)
    moving = _cameras(Stage(sliding), "orbit", (64, 48), 4)
    turn = lambda cameras: np.degrees(np.arccos(np.clip(cameras[0].rotation[2] @ cameras[1].rotation[2], -1, 1)))  # noqa: E731
    assert turn(still) > 80.0
    assert turn(moving) < 20.0
    low, high = Stage(sliding).box()
    for camera in moving:
        pixels, depth = camera.project(np.array([low, high]))
        assert (np.asarray(pixels) > 0).all()
        assert (np.asarray(pixels) < [63, 47]).all()
        assert (np.asarray(depth) > 0).all()


def test_small_rigid_things_are_in_view_and_large_ones_need_not_be():
    mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
    arm = ps.box_mesh((1.0, 0.1, 0.1), (1, 1, 1))
    links = [RunLink("finger", mesh.points, mesh.surface()), RunLink("arm", arm.points, arm.surface())]
    places, turns = np.array([[[0.2, 0.0, 0.0], [0.0, 0.0, 0.3]]]), np.tile([1.0, 0.0, 0.0, 0.0], (1, 2, 1))
    both = Stage(Run.of_parts([0.0], [RunBody("b", mesh)], [mesh.points[None]], links, places, turns))
    assert both.box() == pytest.approx(np.array([[0, 0, 0], [0.3, 0.1, 0.1]]))
    alone = Stage(Run.of_parts([0.0], [], [], links, places, turns))
    assert alone.box() == pytest.approx(np.array([[0, 0, 0], [1.0, 0.1, 0.4]]))
    assert alone.modes == ("mesh",)


def test_a_camera_comes_from_its_file_and_takes_another_size(sliding, tmp_path):
    file = tmp_path / "camera.json"
    file.write_text(json.dumps(CAMERA.to_dict()))
    a = picture(film(sliding, tmp_path / "a.png", camera=str(file)))
    b = picture(film(sliding, tmp_path / "b.png", camera=CAMERA))
    assert a.shape == (120, 160, 3)
    assert np.array_equal(a, b)
    assert picture(film(sliding, tmp_path / "c.png", camera=str(file), size=(80, 60))).shape == (60, 80, 3)


def test_a_run_is_seen_from_its_own_camera_unless_another_is_given(sliding, tmp_path):
    x = np.stack([sliding.positions(f)[0] for f in range(len(sliding))])
    own = Run.of_parts(sliding.times, sliding.bodies, [x], ground=0.0, camera=CAMERA)
    a, b = (picture(film(run, tmp_path / "a.png", **rest)) for run, rest in ((own, {}), (sliding, {"camera": CAMERA})))
    assert np.array_equal(a, b)
    assert picture(film(own, tmp_path / "b.png", camera="front")).shape == (540, 960, 3)


def told(capsys, *words):
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    return code, capsys.readouterr().err


def test_what_cannot_be_drawn_takes_one_line_and_exit_code_2(sliding, tmp_path, capsys):
    folder = str(sliding.save(tmp_path / "run"))
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "odd.json").write_text(json.dumps(replace(CAMERA, width=161).to_dict()))
    (tmp_path / "flat.json").write_text(json.dumps(CAMERA.to_dict() | {"focal": [0.0, 1.0]}))
    out = str(tmp_path / "it.mp4")
    for words, said in [
        ([folder, "--out", str(tmp_path / "it.gif")], "written as .mp4"),
        ([folder, "--out", out, "--show", "splats"], "the run offers mesh, strain"),
        ([folder, "--out", out, "--camera", "above"], "neither orbit nor front, nor a file"),
        ([folder, "--out", out, "--camera", str(tmp_path / "bad.json")], "not JSON"),
        ([folder, "--out", out, "--camera", str(tmp_path / "flat.json")], "Camera.focal"),
        ([folder, "--out", out, "--camera", str(tmp_path / "odd.json")], "must be even: give --size 162 120"),
        ([folder, "--out", out, "--size", "64", "100000"], "size"),
        ([str(tmp_path), "--out", str(tmp_path / "no" / "it.png")], "cannot be written"),
        ([str(tmp_path / "nothing"), "--out", out], "is not a folder"),
    ]:
        code, err = told(capsys, "render", *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert said in err


def test_the_command_writes_its_picture(sliding, tmp_path, capsys):
    folder, out = str(sliding.save(tmp_path / "run")), tmp_path / "it.png"
    assert told(capsys, "render", folder, "--out", str(out), "--size", "64", "48", "--show", "strain")[0] == 0
    assert picture(out).shape == (48, 64, 3)


def test_the_camera_that_the_help_shows_can_be_used(sliding, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["render", "--help"])
    shown = next(line for line in capsys.readouterr().out.splitlines() if line.strip().startswith('{"width"'))
    (tmp_path / "camera.json").write_text(shown)
    film(sliding, tmp_path / "it.png", camera=tmp_path / "camera.json")
    assert Image.open(tmp_path / "it.png").size == (640, 480)
