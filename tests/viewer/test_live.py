"""Live simulations: a body follows a pull, swings back, goes back to its start, and says why where none can be."""

import time

import numpy as np
import pytest

import physsim as ps
from physsim.appearance.run import Run, RunBody
from physsim.viewer.live import LiveSimulation, hold_points, why_not_live

SHELL = ps.Shell(stretch=1000.0, bending=2e-5, area_density=0.15)


def still(mesh, material, masses=None, held=(), **options):
    return Run.of_parts([0.0], [RunBody("b", mesh, material, masses, np.asarray(held, int))], [mesh.points[None]], **options)


def until(condition, seconds=60.0):
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


def after(live, seconds):
    """Wait until so much time has been simulated."""
    begun = live.snapshot.time
    assert until(lambda: live.snapshot.time >= begun + seconds), live.message


def test_a_pulled_point_follows_and_swings_back_when_it_is_let_go(standing):
    live = LiveSimulation(standing)
    try:
        x = standing.bodies[0].mesh.points
        assert not live.running
        k = live.grab(0, [0.026, 0.026, 0.11])
        assert x[k] == pytest.approx([0.05, 0.05, 0.1], abs=0.03)  # the nearest point
        live.move([0.02, 0.0, 0.0])
        after(live, 1.0)
        moved = live.snapshot.positions[0] - x
        assert moved[k, 0] > 0.01
        assert np.abs(moved[standing.bodies[0].held]).max() < 1e-7  # what is held stays
        held, pointer = live.pulled
        assert pointer - (x[k] + [0.02, 0.0, 0.0]) == pytest.approx(np.zeros(3), abs=1e-6)
        assert held == pytest.approx(x[k] + moved[k], abs=1e-6)
        live.release()
        after(live, 1.5)
        assert live.pulled is None
        assert abs(live.snapshot.positions[0][k, 0] - x[k, 0]) < 0.002
        assert live.message == ""
    finally:
        live.close()


def test_a_pull_far_away_stretches_no_further_than_its_spring(standing):
    live = LiveSimulation(standing)
    try:
        live.grab(0, [0.05, 0.05, 0.1])
        live.move([50.0, 0.0, 0.0])
        after(live, 0.5)
        assert np.isfinite(live.snapshot.positions[0]).all()
        assert np.ptp(live.snapshot.positions[0], axis=0).max() < 1.0
    finally:
        live.close()


def test_reset_goes_back_to_the_start_and_pause_holds_time(standing):
    live = LiveSimulation(standing)
    try:
        live.play()
        after(live, 0.2)
        live.pause()
        assert until(lambda: not live.running)
        time.sleep(0.1)
        held = live.snapshot.time
        time.sleep(0.1)
        assert live.snapshot.time == held > 0.0
        live.reset()
        assert until(lambda: live.snapshot.time == 0.0)
        assert live.snapshot.positions[0] == pytest.approx(standing.bodies[0].mesh.points, abs=1e-7)
    finally:
        live.close()


def test_it_starts_from_the_frame_that_is_shown():
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (1, 1, 1))
    body = RunBody("b", mesh, ps.NeoHookean(5e4, 0.3, 300.0))
    moved = np.stack([mesh.points, mesh.points + [0.0, 0.0, 1.0]])
    live = LiveSimulation(Run.of_parts([0.0, 1.0], [body], [moved], gravity=(0.0, 0.0, -10.0)), frame=1)
    try:
        assert live.snapshot.positions[0] == pytest.approx(moved[1], abs=1e-6)
        live.play()
        after(live, 0.2)
        live.pause()
        t = live.snapshot.time
        fallen = 1.0 - live.snapshot.positions[0][:, 2].mean() + mesh.points[:, 2].mean()
        assert fallen == pytest.approx(5.0 * t**2, rel=0.15)  # free fall; the first step is of first order
    finally:
        live.close()


def test_what_falls_is_carried_by_the_floor():
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(0.0, 0.0, 0.02))
    live = LiveSimulation(still(mesh, ps.NeoHookean(5e4, 0.3, 300.0, 10.0), ground=0.0))
    try:
        assert live.floor
        live.play()
        after(live, 1.0)
        assert -1e-6 < live.snapshot.positions[0][:, 2].min() < 3e-3
    finally:
        live.close()


def test_weights_that_were_added_take_part():
    """A net's masses are as recorded; a block with twice its own mass hangs down further by its weight."""
    mesh = ps.box_mesh((0.1, 0.02, 0.02), (5, 1, 1))
    material = ps.NeoHookean(2e5, 0.3, 1000.0, 300.0)
    held = np.flatnonzero(mesh.points[:, 0] == 0.0)
    end = mesh.points[:, 0] == 0.1
    builder = ps.ModelBuilder()
    builder.add_soft_body(mesh, material)
    own = Run(builder.finalize()).bodies[0].masses
    drops = []
    for more in (0.0, 0.04):
        live = LiveSimulation(still(mesh, material, own + more * end / end.sum(), held))
        try:
            live.play()
            after(live, 2.0)
            drops.append(-live.snapshot.positions[0][end, 2].mean() + mesh.points[end, 2].mean())
        finally:
            live.close()
    # a cantilever's tip: w L^4 / 8 E I under its own 40 g, P L^3 / 3 E I more under 40 g at the end
    assert drops[1] / drops[0] == pytest.approx(1 + 8 / 3, rel=0.1)


def test_a_step_that_fails_lets_go_and_says_so(standing, monkeypatch):
    live = LiveSimulation(standing)
    try:
        real, failed = live._solver.step, []

        def step(*arguments):
            if len(failed) < 1:
                failed.append(arguments)
                raise ps.SolverError("the step to t = 1 s failed")
            return real(*arguments)

        monkeypatch.setattr(live._solver, "step", step)
        live.grab(0, [0.05, 0.05, 0.1])
        assert until(lambda: live.pulled is None)
        after(live, 0.1)  # it goes on from the last good state
        assert np.isfinite(live.snapshot.positions[0]).all()
        monkeypatch.setattr(live._solver, "step", lambda *a: (_ for _ in ()).throw(ps.SolverError("never again")))
        assert until(lambda: not live.running)  # what fails at rest as well is stopped
        assert "never again" in live.message
    finally:
        live.close()


def test_what_ends_the_thread_is_kept_for_who_asks(standing, monkeypatch):
    live = LiveSimulation(standing)
    try:
        monkeypatch.setattr(live._solver, "step", lambda *_: 1 / 0)
        live.play()
        assert until(lambda: live.failure is not None)
        assert isinstance(live.failure, ZeroDivisionError)
        assert not live.running
    finally:
        live.close()


@pytest.mark.parametrize(
    ("mesh", "material", "masses"),
    [
        (ps.sheet_mesh((0.2, 0.2), (6, 6)), SHELL, None),
        (ps.spring_net((6, 6), (0.2, 0.2)), ps.Spring(300.0, 0.05), np.full(49, 1e-3)),
        (ps.Curve.straight((0, 0, 0.5), (0.3, 0, 0.5), 12), ps.Rod(young=1e7, radius=0.002, density=1100.0), None),
    ],
    ids=["sheet", "net", "rod"],
)
def test_every_kind_of_body_can_be_pulled(mesh, material, masses):
    live = LiveSimulation(still(mesh, material, masses, hold_points(mesh)))
    try:
        far = mesh.points[: getattr(mesh, "point_count", None)]
        k = live.grab(0, far[np.argmax(far[:, 0])])
        live.move([0.0, 0.0, 0.05])
        after(live, 1.0)
        assert live.snapshot.positions[0][k, 2] > mesh.points[k, 2] + 0.01, live.message
    finally:
        live.close()


def test_why_no_simulation_can_start_is_said(sliding):
    mesh, net = ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.spring_net((2, 2), (1, 1))
    assert why_not_live(sliding) == "the material of 'block' is not recorded"
    assert "masses of 'b'" in why_not_live(still(net, ps.Spring(1.0)))
    assert "lock" in why_not_live(still(mesh, ps.NeoHookean(1e4, 0.49)))
    directed = ps.Shell(stretch=(1000.0, 500.0), bending=1e-5, area_density=0.1)
    assert "warp directions of 'b'" in why_not_live(still(ps.sheet_mesh((1, 1), (2, 2)), directed))
    with pytest.raises(ps.InputError, match="no simulation can start: the material of 'block'"):
        LiveSimulation(sliding)


def test_what_is_held_is_a_sensible_layer():
    solid = ps.box_mesh((0.1, 0.1, 0.1), (2, 2, 4))
    assert np.array_equal(hold_points(solid), np.flatnonzero(solid.points[:, 2] == 0.0))
    assert np.array_equal(hold_points(solid, "top"), np.flatnonzero(solid.points[:, 2] == 0.1))
    assert len(hold_points(solid, "none")) == 0
    flat = ps.sheet_mesh((0.2, 0.1), (4, 2))
    assert np.array_equal(hold_points(flat), np.flatnonzero(flat.points[:, 0] == flat.points[:, 0].min()))
    hanging = ps.TriMesh(flat.points[:, [0, 2, 1]] * [1, 1, 1], flat.triangles)
    assert np.array_equal(hold_points(hanging), np.flatnonzero(hanging.points[:, 2] == hanging.points[:, 2].max()))
    rod = ps.Curve.straight((0, 0, 0), (1, 0, 0), 5)
    assert np.array_equal(hold_points(rod), rod.end(0))
    with pytest.raises(ps.InputError, match="hold = 'left': choose one of auto, bottom, top, none"):
        hold_points(solid, "left")
