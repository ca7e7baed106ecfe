"""Fixtures that every test may use."""

import os

import numpy as np
import pytest

SEED = 20261123


@pytest.fixture
def rng():
    """Random numbers, the same in every run; PHYSSIM_SEED gives others: a number, or "random", whose seed a failure prints."""
    asked = os.environ.get("PHYSSIM_SEED") or SEED
    seed = int(np.random.SeedSequence().generate_state(1)[0] if asked == "random" else asked)
    print(f"random numbers: PHYSSIM_SEED={seed} draws these again")
    return np.random.default_rng(seed)


@pytest.fixture
def one_thread():
    """PyTorch on one thread: tensors of tests are small, and threads would only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
