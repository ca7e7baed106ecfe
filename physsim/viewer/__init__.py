"""Looking at assets and runs: in a browser while a simulation goes on, and as films."""
