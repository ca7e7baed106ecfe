"""Contact: which surfaces may touch, the pairs that are near, and what they add to a solve."""
