import numpy as np
import pytest

from physsim.bench.cases import Case
from physsim.bench.engine_physsim_capture import CaptureGradient
from physsim.bench.table import capture_ratios, format_capture_ratios


@pytest.mark.parametrize("kind, damping", [("capture-gradient", 0.05), ("capture-touch", 0.0)])
def test_the_gradient_over_a_capture_is_that_of_its_differences(kind, damping):
    gradient = CaptureGradient(Case("small", kind, 6, 1.0e3, damping), 1, {"tolerance": 1e-11})
    gradient.warm_up()
    assert gradient.forward() > 0.0
    slope = gradient.backward() @ gradient.stiffness
    losses = []
    for share in (1.001, 0.999):
        gradient.set_stiffness(share * gradient.stiffness)
        losses.append(gradient.forward())
    assert slope == pytest.approx((losses[0] - losses[1]) / 0.002, rel=1e-2)
    assert np.isfinite(gradient.tracks.numpy()).all()


def test_ratios_over_captures_are_the_peers_time_over_ours():
    rows = [
        {"case": "capture-gradient", "engine": "physsim-implicit", "cpu_s": 2.0, "wall_s": 2.0},
        {"case": "capture-gradient", "engine": "taichi", "cpu_s": 30.0, "wall_s": 20.0},
        {"case": "capture-touch", "engine": "physsim-implicit", "cpu_s": 4.0, "wall_s": 4.0},
    ]
    assert [(r["peer"], r["cpu_times"], r["wall_times"]) for r in capture_ratios(rows)] == [("taichi", 15.0, 10.0)]
    assert "15.0 times" in format_capture_ratios(capture_ratios(rows))
    assert format_capture_ratios([]) == ""
