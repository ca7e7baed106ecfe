import io
import json

import pytest
import torch

from physsim.appearance.raster import rasterize
from physsim.bench import engine_pytorch, main
from physsim.bench.cases import CASES, Case, case_named
from physsim.bench.child import run_drawing
from physsim.bench.engine_physsim_render import SplatDrawing
from physsim.bench.engines import engines_for
from physsim.bench.measure import MemoryWatch
from physsim.bench.splat_scenes import splat_ball


def test_there_are_cases_of_three_sizes_each_beside_the_twin():
    cases = [case for case in CASES if case.kind == "render"]
    assert {(case.size, case.pixels) for case in cases} == {(n, p) for n in (2000, 10000, 50000) for p in (128, 256, 512)}
    assert [engine.name for engine in engines_for(cases[0], peers=False)] == ["physsim-raster", "pytorch"]


@pytest.mark.parametrize("tile", engine_pytorch.TILES)
def test_the_twin_draws_the_same_image_and_finds_the_same_gradient(tile):
    scene = splat_ball(400, 50)
    parameters = [value.requires_grad_() for value in scene[:4]]
    ours = rasterize(*parameters, scene.camera, antialias=False)
    twin = engine_pytorch.rasterize(*parameters, scene.camera, tile)
    for a, b in zip((ours.features, ours.alpha), twin, strict=False):
        assert torch.allclose(a, b, atol=2e-5)
    gradients = [torch.autograd.grad(scene.loss(*image), parameters) for image in ((ours.features, ours.alpha, ours.depth), twin)]
    for a, b in zip(*gradients, strict=True):
        assert (a - b).norm() < 1e-4 * b.norm()


@pytest.mark.parametrize("engine", [SplatDrawing, engine_pytorch.SplatDrawing])
def test_a_drawing_is_timed_forward_and_backward(engine):
    drawing = engine(Case("few", "render", 100, None, pixels=20), 1, {})
    drawing.warm_up()
    row = run_drawing(drawing, MemoryWatch())
    assert row["repeats"] == 25
    assert all(row[f"{part}_{unit}"] > 0.0 for part in ("forward", "backward") for unit in ("cpu_s", "wall_s"))
    assert drawing.facts()["threads"] >= 1


def test_the_table_says_how_many_times_as_fast_as_the_twin(tmp_path):
    def drawn(case, engine, substeps):
        seconds = 0.01 if engine.name == "physsim-raster" else 0.25
        times = dict.fromkeys(("forward_cpu_s", "forward_wall_s", "backward_cpu_s", "backward_wall_s"), seconds / 2)
        return {"cpu_s": seconds, "wall_s": seconds, "peak_rss_mb": 100.0, **times}

    stream, path = io.StringIO(), tmp_path / "rows.json"
    main(case="render-10000", json_path=path, run=drawn, stream=stream)
    text = stream.getvalue()
    assert "forward 5 ms, backward 5 ms" in text
    assert "physsim-raster: 25.0 times (wall 25.0)" in text
    content = json.loads(path.read_text())
    assert len(content["rows"]) == 6
    assert {row["size"] for row in content["rows"]} == {f"10000 at {p}x{p}" for p in (128, 256, 512)}
    assert content["drawing_ratios"][0]["cpu_times"] == pytest.approx(25.0)
    assert case_named(content["rows"][0]["case"]).pixels == 128
