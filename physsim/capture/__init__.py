"""Captures: what cameras and a robot saw of a soft thing being handled, in a folder that any program can write."""
