"""Random drops of cloth and cubes: no failure, no penetration, no energy from nowhere; see `drops`, which runs all thousand."""

import os

import drops
import pytest

COUNT = int(os.environ.get("PHYSSIM_DROPS", "3"))  # CI runs 30


@pytest.mark.timeout(60 + 40 * COUNT)
def test_random_drops(rng):
    failures = {int(seed): drops.run(int(seed)).failure for seed in rng.integers(0, 1000, COUNT)}
    assert not any(failures.values()), {seed: text for seed, text in failures.items() if text}
