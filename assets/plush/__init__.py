"""A small sitting bear: its surface, its tetrahedra, and the recipe that both were made by."""
