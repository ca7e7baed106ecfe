"""Bodies and how they move: materials, meshes, laws, models, solvers and their derivatives."""
