"""Kernels that draw: splats and meshes."""
