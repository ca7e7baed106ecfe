"""Robots of physsim: the robot interface and its backends. Nothing here yet."""
