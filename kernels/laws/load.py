"""Dead load on one particle: a force of constant size and direction.

E = -f . x

f  force [N], three components
"""

import warp as wp


def load(real):
    """Functions of the law for one scalar type; stencil of 1, parameters (force_x, force_y, force_z)."""
    Stencil = wp.types.matrix((1, 3), real)
    Hessian = wp.types.matrix((3, 3), real)
    vec3 = wp.types.vector(3, real)

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: vec3, step: vec3) -> real:
        return -wp.dot(p, x[0])

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: vec3, step: vec3) -> Stencil:
        return wp.matrix_from_rows(-p)  # Stencil(...) of one row is ambiguous in C++

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: vec3, step: vec3, project: int) -> Hessian:
        return Hessian()

    return energy, gradient, hessian
