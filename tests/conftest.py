"""Fixtures that every test may use."""

import os

import numpy as np
import pytest


@pytest.fixture
def rng():
    """Random numbers from a fresh seed, which a failure prints; PHYSSIM_SEED draws the same ones again."""
    seed = int(os.environ.get("PHYSSIM_SEED") or np.random.SeedSequence().generate_state(1)[0])
    print(f"random numbers: PHYSSIM_SEED={seed} draws these again")
    return np.random.default_rng(seed)
