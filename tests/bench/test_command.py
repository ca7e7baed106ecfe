import io
import json

import numpy as np
import pytest

from physsim.bench import main
from physsim.bench.cases import CASES, case_named, cases_to_run
from physsim.bench.engines import engine_named
from physsim.bench.launch import launch
from physsim.bench.sweep import LimitCache, sweep
from physsim.bench.table import equal_error_ratios, format_ratios, format_table
from physsim.errors import InputError

ERROR_AT_ONE = {"physsim-implicit": 0.05, "physsim-explicit": 0.2, "mujoco": 0.3, "taichi": 0.2}


def first_order(case, engine, substeps):
    """An engine whose curve is off by a constant that halves with the step, and whose cost is its number of steps."""
    row = {"cpu_s": 0.1 * substeps, "wall_s": 0.1 * substeps, "peak_rss_mb": 100.0, "run_rss_mb": 10.0}
    if case.kind == "gradient":
        return {**row, "forward_s": 0.1, "backward_s": 0.2, "gradient_error": 1e-5, "difference_uncertainty": 1e-7}
    return {**row, "curve": (np.linspace(0, -0.3, 60) + ERROR_AT_ONE[engine.name] / substeps).tolist()}


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())


def test_sweep_stops_at_the_limit_and_marks_the_largest_good_step():
    rows = sweep(case_named("cloth-32-1000"), engine_named("mujoco"), LimitCache(), first_order)
    assert [row["substeps"] for row in rows] == [2**power for power in range(9)]
    assert rows[-1]["limit_gap"] == pytest.approx(0.3 / 256)
    assert [row["substeps"] for row in rows if row["compared"]] == [16]
    assert rows[4]["error"] == pytest.approx(0.3 / 16 - 0.3 / 256)


def test_a_known_limit_spares_the_finest_runs(tmp_path):
    path = tmp_path / "limits.json"
    case, engine = case_named("cloth-32-1000"), engine_named("mujoco")
    first = sweep(case, engine, LimitCache.load(path), first_order)
    second = sweep(case, engine, LimitCache.load(path), first_order)
    assert len(second) == 5 < len(first)
    assert second[-1]["compared"]
    assert second[-1]["error"] == pytest.approx(first[4]["error"])


def test_a_run_that_breaks_down_has_no_error_and_is_not_compared():
    def unstable(case, engine, substeps):
        row = first_order(case, engine, substeps)
        return row if substeps >= 64 else {**row, "curve": [None] * 60}

    rows = sweep(case_named("cloth-32-1000"), engine_named("taichi"), LimitCache(), unstable)
    assert rows[0]["error"] is None
    assert rows[0]["note"] == "broke down at this step"
    assert [row["substeps"] for row in rows if row["compared"]] == [64]


def test_an_engine_without_a_limit_says_so():
    def wandering(case, engine, substeps):
        return {"cpu_s": 200.0 * substeps, "curve": [0.01 * substeps] * 60}

    limits = LimitCache()
    rows = sweep(case_named("cloth-32-1000"), engine_named("taichi"), limits, wandering)
    assert [row["substeps"] for row in rows] == [1, 2]
    assert "limit uncertain: its two finest steps differ by 1.00 %" in rows[-1]["note"]
    assert len(limits.limits) == 1


@pytest.mark.parametrize(("apart", "gap"), [(0.05, "5.00 %"), (np.nan, "an unknown amount")])
def test_an_engine_too_slow_for_its_limit_is_compared_at_its_finest_step_and_says_so(apart, gap):
    def slow(case, engine, substeps):
        return {"cpu_s": 200.0 * substeps, "curve": [apart if substeps == 1 else 0.0] * 60}

    limits = LimitCache()
    rows = sweep(case_named("shell-128-1000"), engine_named("mujoco"), limits, slow)
    assert [row["compared"] for row in rows] == [False, True]
    assert rows[-1]["error"] is None
    assert f"limit not reached within 600 CPU s: its two finest steps differ by {gap}" in rows[-1]["note"]
    assert not limits.limits


def test_halving_ends_when_runs_come_no_closer():
    def buckling(case, engine, substeps):
        return {"cpu_s": 1.0, "curve": [0.1 / substeps + 0.004 * (substeps.bit_length() % 2)] * 60}

    rows = sweep(case_named("cloth-32-1000"), engine_named("mujoco"), LimitCache(), buckling)
    assert len(rows) < 8
    assert rows[-1]["limit_gap"] == pytest.approx(0.1 / rows[-1]["substeps"] + 0.004, abs=0.004)
    assert "limit uncertain" in rows[-1]["note"]


def test_bench_with_peers_prints_the_table_and_ratios_and_writes_the_rows(tmp_path, installed):
    path, stream = tmp_path / "bench.json", io.StringIO()
    assert main(case="gradient-32", peers=True, json_path=path, run=first_order, stream=stream) == 0
    content = json.loads(path.read_text())
    rows = content["rows"]
    assert {row["engine"] for row in rows} == {"physsim-implicit", "physsim-explicit", "taichi"}
    for key in ("case", "size", "stiffness", "engine", "dt", "cpu_s", "wall_s", "peak_rss_mb", "error"):
        assert all(key in row for row in rows)
    gradients = {row["engine"]: row for row in rows if row["case"] == "gradient-32-1000"}
    assert gradients["physsim-implicit"]["dt"] == pytest.approx(1 / 240)
    assert gradients["taichi"]["dt"] == pytest.approx(1 / 960)
    ratio = next(r for r in content["ratios"] if r["case"] == "gradient-32-1000" and r["engine"] == "physsim-implicit")
    assert ratio["cpu_ratio"] == pytest.approx(0.25)
    text = stream.getvalue()
    assert "1/240" in text and "gradient off by 1.0e-05" in text
    assert "physsim-implicit / taichi:  CPU 0.250" in text


def test_without_peers_only_physsim_runs(installed):
    seen = set()

    def watched(case, engine, substeps):
        seen.add(engine.name)
        return first_order(case, engine, substeps)

    main(case="cloth-32-1000", run=watched, stream=io.StringIO())
    assert seen == {"physsim-implicit", "physsim-explicit"}


def test_a_missing_peer_gets_a_row_in_plain_words(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "warp" else None)
    path, stream = tmp_path / "rows.json", io.StringIO()
    main(case="beam-500", peers=True, json_path=path, run=first_order, stream=stream)
    row = next(row for row in json.loads(path.read_text())["rows"] if row["engine"] == "mujoco")
    assert row["cpu_s"] is None
    assert "mujoco is not installed" in row["note"]
    assert "mujoco is not installed" in stream.getvalue()


def test_table_shows_rows_down_to_the_compared_step_with_profile():
    rows = sweep(case_named("beam-500"), engine_named("physsim-implicit"), LimitCache(), first_order)
    for row in rows:
        row.update(profile={"assemble": 0.1, "solve": 0.3}, launches_s=0.02, launches_per_step=50, step_s=0.004, linear="cg")
        row.update(iterations_per_step=1.5, linear_iterations_per_step=20.25)
    text = format_table(rows)
    assert [line.split()[3] for line in text.splitlines() if line.startswith("beam-500")] == ["1/60", "1/120", "1/240"]
    profile = "a step 4 ms, 1.5 Newton, 20.25 linear by cg: assemble 25 %, solve 75 %; 50 launches, by themselves 5 %"
    assert text.count(profile) == 1


def test_a_gradient_whose_differences_settle_nowhere_is_said_to_be_unchecked():
    row = {"case": "gradient-32-1000", "engine": "taichi", "dt": 1 / 60, "forward_s": 1.0, "backward_s": 2.0, "compared": True}
    row.update(gradient_error=np.nan, difference_uncertainty=1.5, directions_settled="0 of 3")
    assert "no check: differences settle along none of the directions (known to 1.5e+00)" in format_table([row])


def test_of_the_steps_that_broke_down_the_table_shows_the_finest():
    def unstable(case, engine, substeps):
        row = first_order(case, engine, substeps)
        return row if substeps >= 16 else {**row, "curve": [None] * 60, "note": "turned NaN"}

    text = format_table(sweep(case_named("cloth-32-1000"), engine_named("taichi"), LimitCache(), unstable))
    assert [line.split()[3] for line in text.splitlines() if "broke down" in line] == ["1/480"]
    assert "broke down at this step: turned NaN" in text


def test_the_best_of_ours_is_marked():
    rows = [row for name in ERROR_AT_ONE for row in sweep(case_named("cloth-32-1000"), engine_named(name), LimitCache(), first_order)]
    best = {ratio["engine"] for ratio in equal_error_ratios(rows) if ratio["best"]}
    assert best == {"physsim-implicit"}
    assert "physsim-implicit / taichi:  CPU 0.250, peak memory 1.000, memory of the run 1.000 *" in format_ratios(equal_error_ratios(rows))


def test_no_ratio_without_a_peer_below_two_per_cent():
    rows = sweep(case_named("beam-500"), engine_named("physsim-implicit"), LimitCache(), first_order)
    assert equal_error_ratios(rows) == []
    assert "No ratio" in format_ratios([])


@pytest.mark.parametrize("name", ["nonsense", "", "cloth-33"])
def test_an_unknown_case_is_refused_with_the_list_of_cases(name):
    with pytest.raises(InputError, match="no such benchmark case; choose from cloth-32-1000, "):
        main(case=name, run=first_order)


def test_the_beginning_of_a_name_chooses_the_cases_that_begin_so():
    assert [case.name for case in cases_to_run("cloth-64")] == ["cloth-64-1000", "cloth-64-10000", "cloth-64-100000"]
    assert [case.name for case in cases_to_run("beam")] == ["beam-500", "beam-4000", "beam-20000"]
    assert [case.name for case in cases_to_run("cloth-32-1000")] == ["cloth-32-1000"]
    assert cases_to_run(None) == CASES


def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(tmp_path):
    def never(case, engine, substeps):
        raise AssertionError("ran")

    with pytest.raises(InputError, match="cannot be written"):
        main(json_path=tmp_path / "absent" / "rows.json", run=never)


def test_a_limits_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "limits.json"
    path.write_text("[1, 2]")
    with pytest.raises(InputError, match="not a file of benchmark limits"):
        main(limits_path=path, run=first_order)


def test_a_child_that_fails_gives_a_row_with_its_reason():
    row = launch(case_named("beam-500"), engine_named("taichi"), 1)
    assert row["note"].startswith("failed (exit status 1): ")
    assert "taichi cannot run a beam" in row["note"]
