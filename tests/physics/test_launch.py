"""Programs of recorded launches, copies and views, which stand for Warp's own slower calls."""

import threading
import time

import numpy as np
import pytest
import warp as wp

from physsim.physics import launch
from physsim.physics.launch import Command, Copies, HostView, Launcher, Program, capturing, copy, quiet_warp


@wp.kernel(module="unique", enable_backward=False)
def scale_and_add(first: wp.vec2i, factor: float, term: float, x_out: wp.array2d(dtype=float)):
    e, row = wp.tid()
    x_out[first[0] + e, first[1] + row] = factor * x_out[first[0] + e, first[1] + row] + term


def commands_on(x, *pairs, slices=1):
    launcher = Launcher("cpu", x.shape[0], slices)
    return [launcher.record(scale_and_add, x.shape[1], factor, term, x, weight=1e9) for factor, term in pairs]


def test_a_program_launches_in_order_and_counts_each():
    x = wp.zeros((2, 3), dtype=float, device="cpu")
    program = Program(commands_on(x, (1.0, 2.0), (3.0, 1.0)))
    before = Command.count
    program()
    program()
    np.testing.assert_array_equal(x.numpy(), 28.0)  # ((0 + 2) 3 + 1 + 2) 3 + 1
    assert Command.count - before == 4


def test_a_program_follows_its_commands_arguments():
    x, y = (wp.zeros((1, 3), dtype=float, device="cpu") for _ in range(2))
    (command,) = commands_on(x, (1.0, 2.0))
    program = Program([command])
    command.set(0, 0.0)
    command.set(1, 5.0)
    command.set(2, y)
    program()
    np.testing.assert_array_equal(x.numpy(), 0.0)
    np.testing.assert_array_equal(y.numpy(), 5.0)


def test_sliced_and_empty_commands_make_programs_too(monkeypatch):
    monkeypatch.setattr("physsim.physics.launch.thread_count", lambda: 2)
    x = wp.zeros((1, 64), dtype=float, device="cpu")
    program = Program([*commands_on(x, (1.0, 2.0), slices=2), Launcher("cpu", 1).record(scale_and_add, 0, 1.0, 1.0, x)])
    program()
    np.testing.assert_array_equal(x.numpy(), 2.0)
    Program([])()


def test_a_captured_program_runs_when_its_graph_is_replayed():
    x = wp.zeros((1, 4), dtype=float, device="cpu")
    program = Program(commands_on(x, (1.0, 2.0), (2.0, 0.0)))
    with capturing(), wp.ScopedCapture(device="cpu", force_module_load=False) as capture:
        program()
        copies = Copies((x, x))
        copies()
    np.testing.assert_array_equal(x.numpy(), 0.0)
    wp.capture_launch(capture.graph)
    wp.capture_launch(capture.graph)
    np.testing.assert_array_equal(x.numpy(), 12.0)


def test_copies_are_those_of_warp_for_whole_arrays_and_parts(rng):
    values = rng.normal(size=(4, 5, 3))
    source = wp.array(values, dtype=wp.vec3d, device="cpu")
    whole, part = wp.zeros((4, 5), dtype=wp.vec3d, device="cpu"), wp.zeros((4, 2), dtype=wp.vec3d, device="cpu")
    copy(whole, source)
    copy(part, source[:, 1:3])  # lies apart in memory
    np.testing.assert_array_equal(whole.numpy(), values)
    np.testing.assert_array_equal(part.numpy(), values[:, 1:3])


def test_a_view_shows_what_stands_in_the_array_now():
    x = wp.zeros(3, dtype=wp.float64, device="cpu")
    view = HostView(x)
    x.fill_(4.0)
    np.testing.assert_array_equal(view(), 4.0)


@wp.kernel(module="unique", enable_backward=False)
def write_number(first: wp.vec2i, number: int, out: wp.array2d(dtype=int)):
    e, row = wp.tid()
    out[first[0] + e, first[1] + row] = number


def test_numbers_that_are_set_reach_launches_and_captures():
    out = wp.zeros((1, 2), dtype=int, device="cpu")
    command = Launcher("cpu", 1).record(write_number, 2, 1, out)
    command()
    assert out.numpy().tolist() == [[1, 1]]
    command.set(0, 70000)
    command()
    assert out.numpy().tolist() == [[70000, 70000]]
    command.set(0, 5)
    with capturing(), wp.ScopedCapture(device="cpu", force_module_load=False) as capture:
        command()
    assert out.numpy().tolist() == [[70000, 70000]]
    wp.capture_launch(capture.graph)
    assert out.numpy().tolist() == [[5, 5]]


def test_warp_is_as_loud_as_before_when_threads_have_kept_it_quiet_at_the_same_time():
    before, inside = wp.config.log_level, threading.Barrier(2)
    other_left = threading.Event()

    levels = []

    def first():
        with quiet_warp():
            inside.wait(10.0)  # both are in
            other_left.wait(10.0)
            levels.append(wp.config.log_level)

    thread = threading.Thread(target=first)
    with quiet_warp():
        thread.start()
        inside.wait(10.0)
    other_left.set()
    thread.join(10.0)
    assert levels == [wp.LOG_ERROR]
    assert wp.config.log_level == before < wp.LOG_ERROR


def test_threads_compile_one_after_another_and_a_failure_is_tried_again(monkeypatch):
    inside, most, loads = [], [], []

    def load(module, device):
        inside.append(module)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        loads.append(module)
        if len(loads) == 1:
            raise RuntimeError("no room in the cache")

    monkeypatch.setattr(launch, "_seen", set())
    monkeypatch.setattr(wp, "load_module", load)
    kernels = [type("Kernel", (), {"module": name, "key": name}) for name in "abc"]
    with pytest.raises(RuntimeError, match="no room"):
        launch.announce(kernels[0], "cpu")
    threads = [threading.Thread(target=launch.announce, args=(kernel, "cpu")) for kernel in 2 * kernels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)
    assert max(most) == 1
    assert sorted(loads) == ["a", "a", "b", "c"]
    launch.announce(kernels[0], "cpu")
    assert len(loads) == 4
