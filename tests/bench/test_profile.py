from types import SimpleNamespace

import numpy as np
import pytest

from physsim.bench.cases import Case
from physsim.bench.engine_physsim import ExplicitSimulation, ImplicitSimulation
from physsim.bench.profile import StepProfile, launch_seconds, profile_line


def test_parts_and_other_sum_to_the_time_of_the_steps():
    profile = StepProfile()
    report = SimpleNamespace(iterations=[2, 3], linear_iterations=10, factorisations=1, profile={"assemble": 1e-9, "solve": 2e-9})
    for _ in range(4):
        profile.note(report)
    columns = profile.columns(4)
    assert columns["iterations_per_step"] == 3
    assert columns["linear_iterations_per_step"] == 10
    assert sum(columns["profile"].values()) == pytest.approx(4 * columns["step_s"], abs=1e-4)


def test_a_launch_by_itself_takes_time():
    assert 0.0 < launch_seconds() < np.inf


@pytest.mark.parametrize("kind", ["cloth", "shell"])
def test_a_sheet_of_ours_falls_freely_at_first_and_stays_on_its_pins(kind):
    curve = ImplicitSimulation(Case("small", kind, 5, 1000.0), 2, {}).simulate()
    assert np.isfinite(curve).all()
    assert curve[5] == pytest.approx(-0.5 * 9.81 * 0.1**2, rel=0.05)  # BDF2's start falls by half a step more
    assert -1.2 < curve.min() < -0.9


@pytest.mark.parametrize("simulation", [ImplicitSimulation, ExplicitSimulation])
def test_rows_of_ours_tell_where_a_step_spends_its_time(simulation):
    built = simulation(Case("small", "cloth", 4, 10.0, 0.01), 4, {})
    built.simulate()
    facts = built.facts()
    parts = {"march", "other"} if simulation is ExplicitSimulation else {"assemble", "solve", "line search", "other"}
    assert set(facts["profile"]) == parts
    assert facts["launches_per_step"] > 0
    assert facts["launches_s"] > 0
    assert profile_line(facts).startswith("a step ")
