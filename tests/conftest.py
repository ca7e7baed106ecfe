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


@pytest.fixture
def one_thread():
    """PyTorch on one thread: tensors of tests are small, and threads would only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
