"""Contact on the device: surface points, distances, pairs that are near, and steps that stop before anything is passed through."""
