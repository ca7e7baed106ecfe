"""The command `physsim grasp`: a robot reaches, grips, lifts, holds, shakes and puts down a soft thing."""

from physsim.grasp.command import main

__all__ = ["main"]
