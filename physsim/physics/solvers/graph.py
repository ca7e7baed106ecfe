"""Captured sequences of launches, replayed."""

import threading

import warp as wp

from physsim.physics.launch import capturing, worker_count

KEPT = 4  # graphs of one owner


class Graphs:
    """Graphs of one sequence of launches, one for each key.

    The sequence may loop by `wp.capture_while`; it must allocate nothing and read nothing. Set `warm` once it has run in full, so that
    all its kernels are loaded: before that it runs launch by launch. On a CPU a capture waits for a moment when no other Python
    thread runs, whose launches would be recorded instead of done.

    Args:
        device: Warp device.
        wanted: False never captures.
    """

    def __init__(self, device, wanted=True):
        self._device = wp.get_device(device)
        self.wanted = wanted and (self._device.is_cpu or wp.is_conditional_graph_supported())
        self.warm = False
        self.graphs = {}

    def run(self, key, sequence):
        """Replay the sequence, or capture it, or just call it. Keys differ where its arguments do."""
        if not self.wanted or not self.warm or (key not in self.graphs and self._others_may_launch()):
            sequence()
            return
        if key not in self.graphs:
            if len(self.graphs) >= KEPT:
                del self.graphs[next(iter(self.graphs))]
            with capturing(), wp.ScopedCapture(device=self._device, force_module_load=False) as capture:
                sequence()
            self.graphs[key] = capture.graph
        wp.capture_launch(self.graphs[key])

    def _others_may_launch(self):
        return self._device.is_cpu and threading.active_count() > 1 + worker_count()
