"""Warp kernels and nothing else: constitutive laws, element assembly, linear solvers. Imports Warp only.

Factories take a scalar type (`wp.float32` or `wp.float64`) and build kernels in modules of their own, so that only what a
model uses is compiled.
"""
