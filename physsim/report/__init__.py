"""Pages, plots and videos of a run, for people to look at."""
