"""Derivatives of whole simulations: adjoint, tangent, and the bridge to PyTorch."""
