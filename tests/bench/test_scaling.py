import pytest

from physsim.bench.scaling import BEST, format_scaling, particle_exponents, stiffness_ratios


def row(case, engine, seconds, compared=True):
    return {"case": case, "engine": engine, "cpu_s": seconds, "compared": compared}


ROWS = [
    row("cloth-32-1000", "taichi", 1.0),
    row("cloth-128-1000", "taichi", 64.0),
    row("cloth-64-1000", "taichi", 1e9, compared=False),
    row("cloth-32-1000", "physsim-explicit", 2.0),
    row("cloth-64-1000", "physsim-explicit", 4.0),
    row("cloth-64-1000", "physsim-implicit", 3.0),
    row("cloth-64-100000", "physsim-implicit", 4.5),
    row("beam-500", "mujoco", 1.0),
    row("beam-4000", "mujoco", 10.0),
]


def test_sixteen_times_the_particles_in_64_times_the_time_is_an_exponent_of_1_5():
    found = {(e["engine"], e["from"], e["to"]): e["exponent"] for e in particle_exponents(ROWS) if e["stiffness"] == 1000.0}
    assert found["taichi", 32, 128] == pytest.approx(1.5)
    assert found["physsim-explicit", 32, 64] == pytest.approx(0.5)
    assert found[BEST, 32, 64] == pytest.approx(0.2924812503605781)  # log 1.5 / log 4


def test_stiffness_ratio_is_between_the_softest_and_the_stiffest():
    found = {ratio["engine"]: ratio["ratio"] for ratio in stiffness_ratios(ROWS)}
    assert found == pytest.approx({"physsim-implicit": 1.5, BEST: 1.5})


def test_scaling_as_text_and_nothing_where_there_is_one_row():
    text = format_scaling(ROWS)
    assert "cloth at 1000 N/m, from 32x32 to 128x128: taichi grows with particles^1.50" in text
    assert "cloth of 64x64, from 1000 to 100000 N/m: physsim-implicit takes 1.50 times as long" in text
    assert format_scaling(ROWS[:1]) == ""
