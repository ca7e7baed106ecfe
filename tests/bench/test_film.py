import io
import json

import pytest
import torch

from physsim.bench import main
from physsim.bench.cases import Case, case_named
from physsim.bench.child import run_film
from physsim.bench.engine_physsim_film import FilmGradient
from physsim.bench.engines import engines_for
from physsim.bench.measure import MemoryWatch

STAGES = {"physics", "binding", "drawing", "drawing back", "binding back", "physics back"}


@pytest.fixture(scope="module")
def film():
    film = FilmGradient(Case("small", "film", 6, 1.0e3, 0.01, pixels=24, splats=200), 1, {})
    film.warm_up()
    return film


def test_the_case_is_a_thousand_particles_five_thousand_splats_and_128_squared_pixels():
    case = case_named("film-gradient")
    assert (case.size**2, case.splats, case.pixels) == (1024, 5000, 128)
    assert [engine.name for engine in engines_for(case, peers=False)] == ["physsim-film"]


def test_a_step_in_stages_finds_the_gradient_of_the_step_in_one_piece(film):
    assert set(film.step()) == STAGES
    staged, value = film.stiffness.grad.clone(), film.loss.item()
    whole = film.whole()
    (gradient,) = torch.autograd.grad(whole, film.stiffness)
    assert value == pytest.approx(whole.item(), rel=1e-5)
    assert value > 0.0
    assert (staged - gradient).norm() < 1e-4 * gradient.norm()


def test_the_gradient_is_that_of_the_picture_when_all_springs_stiffen_together(film):
    film.step()
    stiffness = film.stiffness.detach().clone()
    slope = (film.stiffness.grad * stiffness).sum().item()
    with torch.no_grad():
        ends = []
        for factor in (1.02, 0.98):
            film.stiffness.copy_(factor * stiffness)
            ends.append(film.whole().item())
        film.stiffness.copy_(stiffness)
    assert slope < 0.0  # the picture is of a stiffer cloth
    assert (ends[0] - ends[1]) / 0.04 == pytest.approx(slope, rel=0.02)


def test_each_stage_is_timed(film):
    row = run_film(film, MemoryWatch())
    assert row["repeats"] == 25
    for unit in ("cpu_s", "wall_s"):
        assert set(row[f"stages_{unit}"]) == STAGES
        assert all(seconds > 0.0 for seconds in row[f"stages_{unit}"].values())
    # medians of parts; on a busy machine their wall time may have little to do with the whole's
    assert sum(row["stages_cpu_s"].values()) == pytest.approx(row["cpu_s"], rel=0.5)


def test_the_table_tells_the_stages(tmp_path):
    def timed(case, engine, substeps):
        assert substeps == 1
        stages = dict.fromkeys(sorted(STAGES), 0.012)
        return {"cpu_s": 0.072, "wall_s": 0.08, "peak_rss_mb": 100.0, "stages_cpu_s": stages, "stages_wall_s": stages}

    stream, path = io.StringIO(), tmp_path / "rows.json"
    main(case="film", json_path=path, run=timed, stream=stream)
    assert "drawing 12 ms, drawing back 12 ms" in stream.getvalue()
    (row,) = json.loads(path.read_text())["rows"]
    assert row["size"] == "32x32, 5000 at 128x128"
    assert row["dt"] == pytest.approx(1 / 60)
    assert row["stages_wall_s"]["physics back"] == 0.012
