"""A real cube, thrown onto a table: friction from where it came to lie, and then where other throws will end.

Fifty recorded tosses ship with physsim (`assets/cube_toss`). A simulation begins at a recording's first frames, in flight, and predicts
where the cube comes to rest. Contact is not smooth: friction is found by trying, here 12 throws with nine values each as 108
environments of one model, in one run. `physsim.real2sim.toss.fit_tosses` fits several parameters at once, by the simplex.
"""

import time

import numpy as np

from physsim.real2sim import toss
from physsim.real2sim.toss_scene import TossScene

DT = 4e-3  # [s], coarse; 2e-3 is what `TossScene` takes by itself
FRICTIONS = np.linspace(0.12, 0.28, 9)


def fitted_friction(facts, recordings):
    """The friction under which cubes come to lie nearest to where the real ones did, by the parabola through the best of a scan."""
    many = [recording for recording in recordings for _ in FRICTIONS]
    tried = np.tile(FRICTIONS, len(recordings))
    rest = TossScene(len(many), facts, dt=DT).rest(toss.launches(many, facts), tried)
    errors = toss.rest_errors(rest.positions, many).reshape(-1, len(FRICTIONS)).mean(axis=0)
    for friction, error in zip(FRICTIONS, errors, strict=True):
        print(f"  friction {friction:.2f}: missed by {1e3 * error:4.0f} mm (mean)")
    k = int(np.clip(np.argmin(errors), 1, len(errors) - 2))
    a, b, _ = np.polyfit(FRICTIONS[k - 1 : k + 2], errors[k - 1 : k + 2], 2)
    return -0.5 * b / a


def main():
    """Median error of resting places, as a share of that of the mean displacement."""
    facts, recordings = toss.load_tosses()
    train, test = toss.split(recordings, test=10, seed=0)
    start = time.perf_counter()
    friction = fitted_friction(facts, train[:12])
    print(f"friction {friction:.3f} (published: {facts.published_friction}), in {time.perf_counter() - start:.1f} s")

    launches = toss.launches(test, facts)
    rest = TossScene(len(test), facts, dt=DT).rest(launches, friction)
    found = toss.judge(rest.positions, train, test)
    far = np.median(np.linalg.norm(rest.positions - launches.positions, axis=1))
    print(f"ten other throws, which go {far * 100:.0f} cm in {rest.time:.1f} s: missed by {found['median_mm']:.0f} mm (median)")
    print(f"all moved by the mean: {found['mean_displacement_mm']:.0f} mm; by the mean along each throw: {found['mean_travel_mm']:.0f} mm")
    return found["ratio"]


if __name__ == "__main__":
    main()
