"""Benchmark of physsim and, where they are installed, of its peers on the same work.

Every engine, case and step runs in a process of its own. An error is measured against the engine's own limit for vanishing
steps, and engines are compared each at its largest step whose error is below two per cent.
"""

from physsim.bench.command import main

__all__ = ["main"]
