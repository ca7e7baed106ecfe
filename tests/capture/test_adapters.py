"""Adapters: tiny files of each layout, written here as their authors' programs write them, come out as captures."""

import json
import pickle
import warnings

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from physsim import assets
from physsim.capture.adapters import beam, clouds, deform, phystwin, starfish
from physsim.capture.capture import Capture
from physsim.capture.convert import convert, guess
from physsim.cli import main
from physsim.errors import InputError
from physsim.io.ply import write_vertices

FRAMES, POINTS = 6, 9


# PhysTwin


def hands_moving(rng, frames, spots):
    """Points on two hands that translate and turn, and the hands' rigid motions: (points [f, 2 spots, 3], turns, places)."""
    local = rng.uniform(-0.02, 0.02, (2, spots, 3))
    places = np.array([[-0.2, 0, 0], [0.2, 0, 0]]) + np.linspace(0, 1, frames)[:, None, None] * np.array([[0, 0.1, 0], [0.1, 0, 0.05]])
    turns = Rotation.from_rotvec(np.outer(np.linspace(0, 0.6, frames), [1.0, 0.5, 0.0])).as_matrix()
    points = np.einsum("fij,hsj->fhsi", turns, local) + places[:, :, None]
    return points.reshape(frames, 2 * spots, 3), turns


def case_of(folder, rng, cameras=2, protocol=4):
    """A case with everything that a folder of PhysTwin holds; returns the arrays of final_data.pkl."""
    controllers, turns = hands_moving(rng, FRAMES, 5)
    data = {
        "object_points": rng.normal(scale=0.1, size=(FRAMES, POINTS, 3)),
        "object_colors": rng.random((FRAMES, POINTS, 3)),
        "object_visibilities": rng.random((FRAMES, POINTS)) > 0.2,
        "object_motions_valid": rng.random((FRAMES, POINTS)) > 0.2,
        "controller_points": controllers,
        "surface_points": rng.normal(scale=0.1, size=(4, 3)),
        "interior_points": rng.normal(scale=0.1, size=(3, 3)),
    }
    (folder / "final_data.pkl").write_bytes(pickle.dumps(data, protocol))
    poses = []
    for number in range(cameras):
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = Rotation.random(random_state=number).as_matrix(), [0.1 * number, 0.2, -1.0]
        poses.append(pose)
        for kind in ("color", "depth", "mask"):
            (folder / kind / str(number)).mkdir(parents=True)
        for frame in range(FRAMES):
            Image.fromarray(np.full((4, 6, 3), 51 * number, np.uint8)).save(folder / "color" / str(number) / f"{frame}.png")
            np.save(folder / "depth" / str(number) / f"{frame}.npy", np.array([[0, *[500 + frame] * 5]] * 4, np.uint16))
        (folder / "mask" / f"mask_info_{number}.json").write_text(json.dumps({"0": "hand", "1": "rope", "2": "rope"}))
        for key, columns in (("0", [5]), ("1", [0, 1]), ("2", [3])):
            (folder / "mask" / str(number) / key).mkdir()
            painted = np.zeros((4, 6), np.uint8)
            painted[:, columns] = 255
            for frame in range(FRAMES):
                Image.fromarray(painted).save(folder / "mask" / str(number) / key / f"{frame}.png")
    (folder / "calibrate.pkl").write_bytes(pickle.dumps(poses, protocol))
    matrix = [[300.0, 0, 2.5], [0, 310.0, 1.5], [0, 0, 1]]
    (folder / "metadata.json").write_text(
        json.dumps({"intrinsics": [matrix] * cameras, "WH": [6, 4], "fps": 25, "serial_numbers": ["a", "b"]})
    )
    (folder / "split.json").write_text(json.dumps({"frame_len": FRAMES, "train": [0, 4], "test": [4, FRAMES]}))
    return data, poses, turns


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_case_of_phystwin_becomes_tracks_points_cameras_and_two_hands(tmp_path, rng, protocol):
    data, poses, turns = case_of(tmp_path, rng, protocol=protocol)
    capture = convert(tmp_path)
    assert guess(tmp_path) == guess(tmp_path / "final_data.pkl") == "phystwin"
    np.testing.assert_allclose(capture.times, np.arange(FRAMES) / 25)
    seen = data["object_visibilities"].copy()
    seen[1:] &= data["object_motions_valid"][:-1]
    np.testing.assert_array_equal(capture.tracks.visible, seen)
    np.testing.assert_array_equal(capture.tracks.positions[seen], data["object_points"][seen])
    np.testing.assert_array_equal(capture.points[2], data["object_points"][2][data["object_visibilities"][2]])
    np.testing.assert_array_equal(capture.points[0][-4:], data["surface_points"])
    np.testing.assert_array_equal(capture.fit, range(4))
    np.testing.assert_array_equal(capture.test, range(4, FRAMES))
    np.testing.assert_allclose(capture.gravity, [0, 0, 9.8])
    np.testing.assert_allclose(capture.known.ground, [[0, 0, 0], [0, 0, -1]])
    for number, pose in enumerate(poses):
        camera = capture.cameras[str(number)]
        assert (camera.width, camera.height, camera.focal, camera.centre) == (6, 4, (300.0, 310.0), (2.5, 1.5))
        ahead = pose[:3, :3] @ [0.0, 0.0, 2.0] + pose[:3, 3]
        np.testing.assert_allclose(camera.rotation @ ahead + camera.translation, [0, 0, 2.0], atol=1e-12)
    np.testing.assert_allclose(capture.colour["1"][0], 0.2, atol=1e-6)
    np.testing.assert_allclose(capture.depth["0"][3], [[np.nan, *[0.503] * 5]] * 4, rtol=1e-6)
    np.testing.assert_array_equal(capture.mask["0"][5][0], [True, True, False, True, False, False])
    assert set(capture.handles) == {"hand_0", "hand_1"}
    for handle in capture.handles.values():
        np.testing.assert_allclose(handle.rotations, turns, atol=1e-9)
        group = np.einsum("fij,pj->fpi", handle.rotations, handle.places) + handle.positions[:, None]
        apart = np.linalg.norm(group[:, :, None] - data["controller_points"][:, None], axis=-1).min(axis=2)
        assert apart.max() < 1e-9


def test_a_case_without_images_and_cameras_still_has_tracks_points_and_handles(tmp_path, rng):
    case_of(tmp_path, rng)
    for name in ("metadata.json", "calibrate.pkl", "split.json"):
        (tmp_path / name).unlink()
    capture = convert(tmp_path, rate=10.0, reverse_z=False)
    assert capture.sensors == ("tracks", "points") and not capture.cameras
    assert len(capture.fit) == 4  # two thirds
    np.testing.assert_allclose(capture.times[1], 0.1)
    np.testing.assert_allclose(capture.gravity, [0, 0, -9.8])


def test_a_finger_that_slips_hardly_moves_its_hand(tmp_path, rng):
    controllers, _ = hands_moving(rng, FRAMES, 12)
    slipped = controllers.copy()
    slipped[3:, 2] += [0.0, 0.03, 0.0]
    handle = phystwin.handles_of(np.arange(FRAMES) / 30, slipped, 0.08)["hand_0"]
    clean = phystwin.handles_of(np.arange(FRAMES) / 30, controllers, 0.08)["hand_0"]
    moved = np.linalg.norm(handle.positions - clean.positions, axis=1)
    assert moved.max() < 0.03 / 12 / 2, moved  # half of what a plain mean would move


def test_controller_points_that_part_are_of_two_hands_though_they_begin_together(rng):
    first = rng.uniform(-0.01, 0.01, (8, 3))
    away = np.linspace(0, 0.3, 5)[:, None, None] * np.array([1.0, 0, 0])
    points = np.concatenate([np.tile(first[:4], (5, 1, 1)), first[4:] + away], axis=1)
    handles = phystwin.handles_of(np.arange(5.0), points, 0.06)
    assert len(handles) == 2
    np.testing.assert_allclose(handles["hand_1"].positions[-1] - handles["hand_1"].positions[0], [0.3, 0, 0], atol=1e-9)


def test_more_controller_points_than_memory_holds_pairs_of_are_refused():
    with pytest.raises(InputError, match="200000 were given; at most 5000 are read"):
        phystwin.handles_of(np.arange(2.0), np.zeros((2, 200_000, 3)), 0.06)


def test_what_is_wrong_with_a_case_is_said_by_file(tmp_path, rng):
    data, _, _ = case_of(tmp_path, rng)

    def refused(changes, *words):
        (tmp_path / "final_data.pkl").write_bytes(pickle.dumps({**data, **changes}, 4))
        with pytest.raises(InputError) as error:
            convert(tmp_path)
        assert all(word in str(error.value) for word in ("final_data.pkl", *words)), str(error.value)

    refused({"object_points": None}, "object_points")
    refused({"object_points": np.zeros((FRAMES, POINTS, 2))}, "object_points", "shape")
    refused({"object_points": np.array([[["x"] * 3] * POINTS] * FRAMES)}, "numbers")
    refused({"object_visibilities": np.ones((2, 2), bool)}, "object_visibilities")
    refused({"object_motions_valid": np.ones((2, POINTS), bool)}, "object_motions_valid")
    refused({"controller_points": np.zeros((FRAMES, 3))}, "controller_points")
    (tmp_path / "final_data.pkl").write_bytes(pickle.dumps(data, 4))
    (tmp_path / "split.json").write_text('{"train": 3}')
    with pytest.raises(InputError, match=r"split.json.*train"):
        convert(tmp_path)
    (tmp_path / "split.json").unlink()
    (tmp_path / "metadata.json").write_text('{"fps": "fast"}')
    with pytest.raises(InputError, match="fps"):
        convert(tmp_path)


# DEFORM


def swinging(frames=40, markers=7):
    """A cable whose ends move and turn: markers [frames, markers, 3]."""
    s = np.linspace(0, 1, markers)
    t = np.linspace(0, 1, frames)[:, None]
    return np.stack([s * (1 - 0.3 * t), 0.2 * t + 0 * s, 0.5 + 0.4 * t * (s - s**2)], axis=-1)


def written_pickle(tmp_path, held, protocol=4):
    path = tmp_path / "cable.pkl"
    path.write_bytes(pickle.dumps(held, protocol))
    return path


@pytest.mark.parametrize(
    "layout",
    [
        lambda m: m.transpose(0, 2, 1),  # theirs
        lambda m: m,
        lambda m: m.reshape(len(m), -1),
        lambda m: [frame.T for frame in m],
        lambda m: m.transpose(0, 2, 1).tolist(),
    ],
    ids=["frames 3 markers", "frames markers 3", "flat", "list of arrays", "lists"],
)
def test_marker_pickles_become_tracks_with_a_handle_at_each_end(tmp_path, layout):
    markers = swinging()
    path = written_pickle(tmp_path, layout(markers))
    capture = convert(path, mass=0.05, thickness=0.01)
    assert guess(path) == "deform"
    assert capture.kind == "rod" and capture.known.mass == 0.05 and capture.known.thickness == 0.01
    np.testing.assert_allclose(capture.tracks.positions, markers, atol=1e-12)
    np.testing.assert_allclose(np.diff(capture.times), 0.01)
    for name, ends in (("first", [0, 1]), ("last", [-1, -2])):
        handle = capture.handles[name]
        local = np.einsum("fji,fpj->fpi", handle.rotations, markers[:, ends] - handle.positions[:, None])
        apart = np.linalg.norm(local - local[0], axis=-1)
        stretched = np.abs(np.diff(np.linalg.norm(markers[:, ends[1]] - markers[:, ends[0]], axis=1))).sum()
        assert apart.max() <= stretched + 1e-12  # what they move in the handle is the edge's own stretch
        assert (np.linalg.norm(local, axis=-1) < handle.radius).all()


def test_a_handle_at_an_end_does_not_spin_about_the_cable(tmp_path):
    turn = Rotation.from_euler("z", np.linspace(0, np.pi / 2, 30)[:, None]).as_matrix()
    line = np.linspace(0, 1, 6)[:, None] * np.array([1.0, 0, 0])
    capture = convert(written_pickle(tmp_path, np.einsum("fij,pj->fip", turn, line)))
    np.testing.assert_allclose(capture.handles["first"].rotations, turn, atol=1e-12)


@pytest.mark.parametrize(
    ("held", "word"),
    [
        (np.zeros((20, 3, 4)), "markers is needed"),
        (np.zeros((1, 3, 8)), "two frames"),
        (np.zeros((20, 2, 8)), "is needed"),
        ({"a": 1}, "dict"),
        ("text", "str"),
        ([[1, 2], [3]], "no array"),
        (np.zeros((20, 3, 8)), "metres"),
        (swinging().transpose(0, 2, 1) * 1000, "--scale 0.001"),
    ],
)
def test_pickles_that_are_no_markers_are_refused(tmp_path, held, word):
    with pytest.raises(InputError, match=word):
        deform.read(written_pickle(tmp_path, held))


def test_a_gap_among_the_held_markers_is_refused_and_one_elsewhere_is_a_gap(tmp_path):
    markers = swinging()
    markers[5, 3] = np.nan
    capture = convert(written_pickle(tmp_path, markers))
    assert not capture.tracks.visible[5, 3] and capture.tracks.visible.sum() == markers[..., 0].size - 1
    markers[7, 1] = np.nan
    with pytest.raises(InputError, match="frame 7"):
        convert(written_pickle(tmp_path, markers))


# Clouds


@pytest.mark.parametrize("suffix", [".npy", ".ply"])
def test_clouds_go_by_the_numbers_in_their_names(tmp_path, rng, suffix):
    held = [rng.uniform(-100, 100, (5 + k, 3)) for k in range(11)]
    for k, points in enumerate(held):
        path = tmp_path / f"cloud_{k}{suffix}"
        if suffix == ".npy":
            np.save(path, np.concatenate([points, np.ones((len(points), 3))], axis=1))  # with colours
        else:
            write_vertices(path, {axis: points[:, i] for i, axis in enumerate("xyz")})
    capture = convert(tmp_path, rate=20.0, scale=0.001, kind="sheet")
    assert guess(tmp_path) == "clouds" and capture.kind == "sheet" and capture.sensors == ("points",)
    np.testing.assert_allclose(capture.times, np.arange(11) / 20)
    for k, points in enumerate(held):
        np.testing.assert_allclose(capture.points[k], 0.001 * points, rtol=1e-6)


def test_times_beside_the_clouds_count_before_the_rate(tmp_path, rng):
    for k in range(3):
        np.save(tmp_path / f"{k}.npy", rng.normal(size=(4, 3)))
    (tmp_path / "times.csv").write_text("time\n0.0\n0.1\n0.35\n")
    np.testing.assert_allclose(convert(tmp_path, rate=7.0).times, [0, 0.1, 0.35])
    (tmp_path / "times.csv").write_text("time\n0.0\n0.1\n")
    with pytest.raises(InputError, match=r"2 times for 3 frames"):
        convert(tmp_path)


def test_points_that_are_not_finite_are_left_out(tmp_path, rng):
    points = rng.normal(size=(4, 3))
    for k in range(2):
        np.save(tmp_path / f"{k}.npy", np.concatenate([points, [[np.nan, 0, 0]]]))
    np.testing.assert_array_equal(convert(tmp_path, rate=1.0).points[1], points)


def test_what_is_wrong_with_a_folder_of_clouds_is_said(tmp_path, rng):
    def refused(word, **options):
        with pytest.raises(InputError, match=word):
            clouds.read(tmp_path, **options)

    refused("0 .npy or .ply files", rate=1.0)
    for k in range(2):
        np.save(tmp_path / f"{k}.npy", 1000 * rng.uniform(size=(4, 3)))
    refused("--rate HZ")
    refused("rate = -1", rate=-1.0)
    refused("span .* m; give the scale", rate=1.0)
    refused("scale = 0", rate=1.0, scale=0.0)
    np.save(tmp_path / "00.npy", np.zeros((1, 3)))
    refused("same number", rate=1.0)
    (tmp_path / "00.npy").rename(tmp_path / "5.ply")
    refused("both .npy and .ply", rate=1.0)
    (tmp_path / "5.ply").unlink()
    np.save(tmp_path / "0.npy", np.zeros(3))
    refused("0.npy: shape", rate=1.0)
    np.save(tmp_path / "0.npy", np.array([{}]), allow_pickle=True)
    refused("objects", rate=1.0)
    with pytest.raises(InputError, match="no such folder"):
        clouds.read(tmp_path / "away", rate=1.0)


# The beam


def test_the_shipped_beam_becomes_displaced_material_points_a_clamp_and_a_weight():
    folder = assets.folder("silicone_beam")
    facts = json.loads((folder / "experiment.json").read_text())
    capture = convert(folder / "beam_load101_V2_a.csv")
    assert guess(folder / "beam_load101_V2_a.csv") == "beam"
    assert capture.kind == "solid" and capture.known.poisson == 0.499 and capture.known.density == 1070.0
    assert capture.times[0] == pytest.approx(0.68) and capture.times[-1] == pytest.approx(5.99)
    rest = capture.tracks.positions[-60:].mean(axis=0)
    drop = np.mean([m["point"][2] for m in facts["markers"]]) - rest[:, 2].mean()
    assert drop == pytest.approx(0.0257, abs=0.001)  # as the recording's README says, 3 % between the two
    assert capture.known.weights[:, 3].sum() == pytest.approx(0.10203)
    np.testing.assert_allclose(capture.known.weights[[0, -1], :3], facts["weight"]["edge"])
    clamp = capture.handles["clamp"]
    places = clamp.positions[0] + clamp.places
    x = capture.mesh.points
    near = np.linalg.norm(x[:, None] - places, axis=-1).min(axis=1) <= clamp.radius
    np.testing.assert_array_equal(near, np.abs(x[:, 0] + 0.1) < 1e-9)


def test_a_clamp_reaches_every_place_of_its_face(rng):
    clamp = beam._clamp(np.zeros(1), np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.03, 0.11]))
    anywhere = np.array([1.0, 2.0, 3.0]) + np.concatenate([np.zeros((1000, 1)), rng.random((1000, 2)) * [0.03, 0.11]], axis=1)
    assert np.linalg.norm(anywhere[:, None] - clamp.positions[0] - clamp.places, axis=-1).min(axis=1).max() <= clamp.radius


def test_the_facts_of_a_beam_may_lie_elsewhere_and_lack_the_release(tmp_path):
    folder = assets.folder("silicone_beam")
    recording = tmp_path / "own.csv"
    recording.write_bytes((folder / "beam_load101_V2_a.csv").read_bytes())
    facts = folder / "experiment.json"
    with pytest.raises(InputError, match="--release"):
        convert(recording, "beam", experiment=facts)
    own = convert(recording, "beam", experiment=facts, release=0.52)
    shipped = convert(folder / "beam_load101_V2_a.csv")
    np.testing.assert_array_equal(own.tracks.positions, shipped.tracks.positions)
    with pytest.raises(InputError, match=r"runs to 5\.99"):
        convert(recording, "beam", experiment=facts, release=50.0)
    (tmp_path / "experiment.json").write_text('{"body": {}, "markers": []}')
    with pytest.raises(InputError, match=r"experiment.json"):
        convert(recording, "beam", release=0.5)


# The starfish

STARFISH = """Time (ms),Tendon Contraction (mm),M1 X (mm),M1Y,M2 X,M2 Y
0,NaN,315.0,193.0,310.0,164.0
20,1.5,316.0,193.0,310.0,164.5
40,3.0,317.0,192.0,310.5,164.5
60,2.0,316.5,192.5,310.5,164.0
80,,316.0,193.0,310.0,164.0
"""


def test_a_tendons_recording_becomes_tracks_in_a_plane_and_a_handle_that_pulls(tmp_path):
    path = tmp_path / "limb.csv"
    path.write_text(STARFISH)
    capture = convert(path)
    assert guess(path) == "starfish"
    np.testing.assert_allclose(capture.times, [0.02, 0.04, 0.06])
    np.testing.assert_allclose(capture.tracks.positions[1], [[0.317, 0, -0.192], [0.3105, 0, -0.1645]])
    np.testing.assert_allclose(capture.handles["tendon"].positions[:, 0], [0.0015, 0.003, 0.002])
    np.testing.assert_array_equal(capture.fit, [0])
    np.testing.assert_array_equal(capture.test, [1, 2])


def test_what_is_wrong_with_a_tendons_recording_is_said(tmp_path):
    path = tmp_path / "limb.csv"

    def refused(text, word):
        path.write_text(text)
        with pytest.raises(InputError, match=word):
            starfish.read(path)

    refused(STARFISH.replace("40,3.0", "40,NaN"), "not only before and after")
    refused(STARFISH.replace("M2 Y", "depth"), "M2 Y")
    refused(STARFISH.replace("Tendon Contraction (mm)", "pull"), "Tendon Contraction")
    refused(STARFISH.replace("317.0", "NaN"), "line 4")
    refused(STARFISH.replace("40,", "10,"), "grow")


# Which adapter, and the command


def test_what_is_in_no_known_format_is_refused_with_those_that_are(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for source in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(InputError, match=r"--from.*phystwin.*clouds"):
            guess(source)
    with pytest.raises(InputError, match="no such file"):
        guess(tmp_path / "b.txt")
    with pytest.raises(InputError, match="unknown"):
        convert(tmp_path, "abc")


def test_an_option_without_meaning_for_a_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"mass has no meaning.*rate, scale, kind"):
        convert(tmp_path, "clouds", mass=1.0)


def test_a_hostile_pickle_is_refused_by_every_way_in(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    (tmp_path / "final_data.pkl").write_bytes(pickle.dumps({"object_points": Evil()}, 4))
    with pytest.raises(InputError, match=r"builtins\.print"):
        convert(tmp_path)
    with pytest.raises(InputError, match=r"builtins\.print"):
        convert(written_pickle(tmp_path, Evil()), "deform")


@pytest.mark.parametrize("source", ["beam", "deform", "phystwin", "clouds", "starfish"])
def test_the_command_writes_a_capture_that_reads_back_the_same(tmp_path, rng, source, capsys):
    place = tmp_path / "source"
    place.mkdir()
    words = []
    if source == "beam":
        place = assets.folder("silicone_beam") / "beam_load101_V2_a.csv"
    elif source == "deform":
        place, words = written_pickle(place, swinging().transpose(0, 2, 1)), ["--mass", "0.05", "--thickness", "0.01"]
    elif source == "phystwin":
        case_of(place, rng)
    elif source == "clouds":
        words = ["--rate", "30", "--kind", "sheet"]
        for k in range(3):
            np.save(place / f"{k}.npy", rng.normal(size=(5, 3)))
    else:
        place = place / "limb.csv"
        place.write_text(STARFISH)
    expected = convert(place, **{w[2:]: v if w == "--kind" else float(v) for w, v in zip(words[::2], words[1::2], strict=True)})
    assert main(["convert", str(place), "--out", str(tmp_path / "out"), *words]) == 0
    assert f"{expected.frame_count} frames" in capsys.readouterr().out
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a starfish without a name for what holds it, masks of a few pixels
        capture = Capture.load(tmp_path / "out")
    assert capture.sensors == expected.sensors and capture.kind == expected.kind and set(capture.handles) == set(expected.handles)
    np.testing.assert_allclose(capture.times, expected.times)
    np.testing.assert_array_equal(capture.fit, expected.fit)
    np.testing.assert_allclose(capture.gravity, expected.gravity)
    if expected.tracks is not None:
        np.testing.assert_array_equal(capture.tracks.positions, expected.tracks.positions)
        assert (capture.tracks.rest is None) == (expected.tracks.rest is None)
    for name, handle in expected.handles.items():
        np.testing.assert_allclose(capture.handles[name].positions, handle.positions, atol=1e-9)
        np.testing.assert_allclose(capture.handles[name].rotations, handle.rotations, atol=1e-6)
        assert capture.handles[name].radius == pytest.approx(handle.radius) if handle.radius else capture.handles[name].radius is None
        if handle.places is not None:
            np.testing.assert_allclose(capture.handles[name].places, handle.places)
    if expected.known.weights is not None:
        np.testing.assert_allclose(capture.known.weights, expected.known.weights)
        np.testing.assert_allclose(capture.tracks.rest, expected.tracks.rest)
    if expected.points is not None:
        np.testing.assert_allclose(capture.points[1], expected.points[1])
    for camera in expected.depth:
        np.testing.assert_allclose(capture.depth[camera][2], expected.depth[camera][2], rtol=1e-6)
        np.testing.assert_array_equal(capture.mask[camera][2], expected.mask[camera][2])


def test_the_command_says_in_one_line_what_it_cannot_use(tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x")
    assert main(["convert", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out")]) == 2
    assert "--from" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["convert", str(tmp_path / "b.txt"), "--out", str(tmp_path / "out")])
    assert "no file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
