"""The command fit-appearance: from pictures on disk to an asset, its numbers and its page."""

import json

import numpy as np
import pytest
import torch
from fit_scenes import TexturedBlock
from PIL import Image

import physsim as ps
from physsim import cli
from physsim.appearance.asset import Asset
from physsim.appearance.color import ColorNetwork
from physsim.appearance.frames import read_frames

torch.set_num_threads(1)


def write_pictures(folder, frames):
    """Pictures, positions and cameras.json, as anybody would write them."""
    folder.mkdir()
    rows = []
    for i, frame in enumerate(frames):
        camera = frame.camera
        Image.fromarray((255 * frame.image.numpy() + 0.5).astype(np.uint8)).save(folder / f"{i}.png")
        row = {"file": f"{i}.png", "width": camera.width, "height": camera.height, "fx": camera.focal[0], "fy": camera.focal[1]}
        row |= {"cx": camera.centre[0], "cy": camera.centre[1], "distortion": list(camera.distortion)}
        row |= {"rotation": camera.rotation.tolist(), "translation": camera.translation.tolist()}
        if frame.positions is not None:
            np.savez(folder / f"{i}.npz", positions=frame.positions.numpy())
            row["positions"] = f"{i}.npz"
        rows.append(row)
    (folder / "cameras.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def block(tmp_path):
    rng = np.random.default_rng(9)
    thing = TexturedBlock(rng)
    frames = thing.frames(rng, 10, size=64)
    Asset("block", thing.mesh, ps.NeoHookean(young=1e4, poisson=0.3, density=200.0)).save(tmp_path / "block")
    return frames, write_pictures(tmp_path / "pictures", frames), tmp_path


def run(capsys, *words):
    try:
        code = cli.main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    return code, told.out, told.err


def test_pictures_and_an_asset_give_an_asset_with_report_and_page(block, capsys):
    frames, pictures, folder = block
    again = read_frames(pictures)
    assert all((a.image - b.image).abs().max() < 0.003 for a, b in zip(frames, again))
    words = ["fit-appearance", pictures, "--asset", folder / "block", "--out", folder / "new", "--splats", 600, "--iterations", 200]
    code, out, err = run(capsys, *words, "--held-out", 5)
    assert (code, err) == (0, "")
    new = Asset.load(folder / "new")
    assert new.material == Asset.load(folder / "block").material
    assert 300 <= len(new.splats) <= 600
    assert ColorNetwork.from_arrays(new.network).latent_count == new.splats.latents.shape[1]  # the pictures show it deformed
    numbers = json.loads((folder / "new" / "report.json").read_text())
    assert numbers["held_out"] == ["4.png", "9.png"] and numbers["compared"] == "held out"
    assert numbers["psnr"] > 19.0 and 0.5 < numbers["ssim"] <= 1.0
    assert numbers["psnr"] == pytest.approx(np.mean([p["psnr"] for p in numbers["pictures"].values()]))
    assert f"{numbers['psnr']:.4g}" in out and "4.png" in out
    page = (folder / "new" / "report.html").read_text()
    assert page.count("reference, rendering, difference") == 2
    assert not list(folder.glob("*.fit.npz"))


def test_the_asset_looks_on_its_own_as_its_report_says(block, capsys):
    _, pictures, folder = block
    words = ["fit-appearance", pictures, "--asset", folder / "block", "--out", folder / "new", "--splats", 400, "--iterations", 100]
    assert run(capsys, *words, "--held-out", 5, "--quiet")[0] == 0
    from physsim.appearance.color import splat_colors
    from physsim.appearance.metrics import psnr
    from physsim.appearance.scene import PosedSplats, render

    new = Asset.load(folder / "new")
    network, frame = ColorNetwork.from_arrays(new.network), read_frames(pictures)[4]
    posed = new.bind().pose(frame.positions)
    eye = torch.as_tensor(frame.camera.position, dtype=torch.float32)
    with torch.no_grad():
        image = render(PosedSplats(new.splats, posed, splat_colors(new.splats, posed, eye, network)), frame.camera)
    told = json.loads((folder / "new" / "report.json").read_text())["pictures"]["4.png"]["psnr"]
    assert float(psnr(image.colour.clamp(0, 1), frame.image)) == pytest.approx(told, abs=0.02)


def test_an_interrupted_run_is_gone_on_from(block, capsys, monkeypatch):
    _, pictures, folder = block
    words = ["fit-appearance", pictures, "--asset", folder / "block", "--splats", 200, "--iterations", 300]
    from physsim.real2sim import appearance

    calls = []

    def interrupt(self, done):
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(appearance._Bar, "__call__", interrupt)
        assert run(capsys, *words, "--out", folder / "cut")[0] == 130
    assert (folder / "cut.fit.npz").is_file() and not (folder / "cut").exists()
    code, out, _ = run(capsys, *words, "--out", folder / "cut")
    assert code == 0 and "goes on from" in out
    assert run(capsys, *words, "--out", folder / "whole")[0] == 0
    assert (folder / "cut" / "splats.ply").read_bytes() == (folder / "whole" / "splats.ply").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none", "--asset", "{block}", "--out", "{out}"], "'none' is not a folder"),
        (["{pictures}", "--asset", "{pictures}", "--out", "{out}"], "asset.json is missing"),
        (["{block}", "--asset", "{block}", "--out", "{out}"], "neither cameras.json nor transforms.json"),
        (["{pictures}", "--asset", "{block}", "--out", "{pictures}"], "holds something else than an asset"),
        (["{pictures}", "--asset", "{block}", "--out", "{out}/a/b"], "its folder does not exist"),
        (["{pictures}", "--asset", "{block}", "--out", "{out}", "--degree", "4"], "invalid choice: 4"),
        (["{pictures}", "--asset", "{block}", "--out", "{out}", "--held-out", "-1"], "'-1' is not a whole number"),
        (["{pictures}", "--asset", "{block}", "--out", "{out}", "--held-out", "1"], "every frame would be held out"),
        (["{pictures}", "--asset", "{block}", "--out", "{out}", "--background", "0", "0", "7"], "'7' is not a number from 0 to 1"),
        (["{pictures}", "--asset", "{block}", "--out", "{out}", "--lpips", "{pictures}/cameras.json"], "cameras.json"),
        (["{pictures}", "--asset", "{block}"], "--out"),
    ],
)
def test_wrong_input_gets_one_line_and_exit_code_2(block, capsys, words, said):
    _, pictures, folder = block
    places = {"pictures": pictures, "block": folder / "block", "out": folder / "new"}
    code, out, err = run(capsys, "fit-appearance", *(word.format(**places) for word in words))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("physsim: error: ") and said in err


def turned_away(pictures, numbers):
    """Let the cameras of some pictures look the other way."""
    rows = json.loads((pictures / "cameras.json").read_text())
    for i in numbers:
        rows[i]["rotation"] = (np.diag([-1.0, 1.0, -1.0]) @ rows[i]["rotation"]).tolist()
        rows[i]["translation"] = (np.diag([-1.0, 1.0, -1.0]) @ rows[i]["translation"]).tolist()
    (pictures / "cameras.json").write_text(json.dumps(rows))


def test_pictures_that_do_not_have_the_asset_in_view_are_named_and_refused_where_none_has(block, capsys):
    _, pictures, folder = block
    words = ["fit-appearance", pictures, "--asset", folder / "block", "--out", folder / "new", "--iterations", 2, "--held-out", 0]
    turned_away(pictures, [2, 5])
    code, out, err = run(capsys, *words)
    assert code == 0
    assert err.splitlines()[0].startswith("physsim: warning: the asset is not in view of the camera of 2.png, 5.png; check rotation")
    assert out.splitlines()[0].startswith("fitted ")  # nothing was held out
    turned_away(pictures, [0, 1, 3, 4, 6, 7, 8, 9])
    code, _, err = run(capsys, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("physsim: error: no camera has the asset in view")


def test_fewer_splats_than_the_asset_has_are_refused(block, capsys):
    _, pictures, folder = block
    words = ["fit-appearance", pictures, "--out", folder / "new", "--iterations", 2]
    assert run(capsys, *words, "--asset", folder / "block", "--splats", 100)[0] == 0
    code, _, err = run(capsys, *words, "--asset", folder / "new", "--splats", 10)
    assert (code, err) == (2, "physsim: error: splats = 10: the asset has 50 already; give at least as many, or an asset of fewer\n")


def test_a_damaged_picture_is_named(block, capsys):
    _, pictures, folder = block
    whole = (pictures / "3.png").read_bytes()
    (pictures / "3.png").write_bytes(whole[: len(whole) // 2])
    code, _, err = run(capsys, "fit-appearance", pictures, "--asset", folder / "block", "--out", folder / "new")
    assert code == 2 and "3.png: damaged or cut short" in err


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_on_a_terminal_only(capsys, monkeypatch, terminal):
    import sys

    from physsim.appearance.fit_options import Round
    from physsim.real2sim.appearance import _Bar

    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    bar = _Bar()
    bar(Round(50, 200, 0.1, 21.5, 20.25, 300))
    bar.end()
    told = capsys.readouterr().err
    assert told.endswith("\n") if terminal else told == ""
    if terminal:
        assert "50/200" in told and "PSNR 21.50 dB" in told and "20.25" in told and "300 splats" in told
