"""Stretches of a deformation held between bounds, and the reverse mode of that.

With F = U diag(s) V^T, U and V rotations, s the stretches, the smallest negative where F turns things inside out,
    f(F) = U diag(clamp(s, 1 / limit, limit)) V^T.
Where all stretches lie within the bounds this is F itself, bit for bit. It is continuous through flat elements and through inside-out
ones, whose smallest stretch becomes the lower bound.

Its derivative, with B = U^T dF V:
    (U^T df V)_ij = (f_i - f_j) / (s_i - s_j) (B_ij + B_ji) / 2 + (f_i + f_j) / (s_i + s_j) (B_ij - B_ji) / 2
and f'(s_i) B_ii on the diagonal; it is its own adjoint. s_i + s_j is 0 only where an element is inside out with two equal stretches: there
U and V are not unique, and the quotient is bounded. Source: Papadopoulo and Lourakis, Estimating the Jacobian of the singular value
decomposition (2000).
"""

import warp as wp

SWEEPS = wp.constant(8)  # of one-sided Jacobi: a 3 x 3 matrix needs five or six


def limit_functions(real):
    """Functions for one scalar type.

    Args:
        real: `wp.float32` or `wp.float64`.

    Returns:
        (`limited(F, limit)`, `limited_adjoint(F, G, limit)`); a limit of 0 means none.
    """
    vec3 = wp.types.vector(3, real)
    mat33 = wp.types.matrix((3, 3), real)
    tiny = 1e-7 if real == wp.float32 else 1e-15  # cosine between columns that counts as a right angle
    flat = 1e-30

    @wp.func
    def column(A: mat33, j: int) -> vec3:
        return vec3(A[0, j], A[1, j], A[2, j])

    @wp.func
    def columns(a: vec3, b: vec3, c: vec3) -> mat33:
        return mat33(a[0], b[0], c[0], a[1], b[1], c[1], a[2], b[2], c[2])

    @wp.func
    def within(F: mat33, limit: real) -> bool:
        """Whether bounds on the largest and least stretch by Frobenius norms say already that all stretches are within."""
        a = column(F, 0)
        b = column(F, 1)
        c = column(F, 2)
        det = wp.dot(a, wp.cross(b, c))
        cofactor = wp.length_sq(wp.cross(b, c)) + wp.length_sq(wp.cross(c, a)) + wp.length_sq(wp.cross(a, b))
        large = wp.length_sq(a) + wp.length_sq(b) + wp.length_sq(c)
        return large <= limit * limit and det * limit * limit * limit >= real(1.0) and cofactor <= limit * limit * det * det

    @wp.func
    def across(a: vec3) -> vec3:
        """A unit vector at right angles to a unit vector."""
        e = vec3(real(1.0), real(0.0), real(0.0))
        if wp.abs(a[0]) > real(0.6):
            e = vec3(real(0.0), real(1.0), real(0.0))
        return wp.normalize(wp.cross(a, e))

    @wp.func
    def right_vectors(F: mat33) -> mat33:
        """V, a rotation whose last column belongs to the least stretch (one-sided Jacobi, Hestenes 1958)."""
        A = F
        V = wp.identity(n=3, dtype=real)
        for _sweep in range(SWEEPS):
            for pair in range(3):
                p = pair
                q = (pair + 1) % 3
                a = column(A, p)
                b = column(A, q)
                alpha = wp.length_sq(a)
                beta = wp.length_sq(b)
                gamma = wp.dot(a, b)
                if wp.abs(gamma) > real(tiny) * wp.sqrt(alpha) * wp.sqrt(beta):
                    zeta = (beta - alpha) / (real(2.0) * gamma)
                    t = real(1.0) / (wp.abs(zeta) + wp.sqrt(real(1.0) + zeta * zeta))
                    if zeta < real(0.0):
                        t = -t
                    c = real(1.0) / wp.sqrt(real(1.0) + t * t)
                    s = c * t
                    for i in range(3):
                        x = A[i, p]
                        A[i, p] = c * x - s * A[i, q]
                        A[i, q] = s * x + c * A[i, q]
                        y = V[i, p]
                        V[i, p] = c * y - s * V[i, q]
                        V[i, q] = s * y + c * V[i, q]
        # cyclic shifts keep V a rotation: the least stretch goes last
        sizes = vec3(wp.length_sq(column(A, 0)), wp.length_sq(column(A, 1)), wp.length_sq(column(A, 2)))
        least = wp.argmin(sizes)
        return columns(column(V, (int(least) + 1) % 3), column(V, (int(least) + 2) % 3), column(V, int(least)))

    @wp.func
    def left_vectors(F: mat33, V: mat33) -> mat33:
        """U, a rotation, from the images of V's columns; the last one may point away from its image."""
        a = F * column(V, 0)
        b = F * column(V, 1)
        swap = wp.length_sq(b) > wp.length_sq(a)
        if swap:
            c = a
            a = b
            b = c
        u = vec3(real(1.0), real(0.0), real(0.0))
        if wp.length(a) > real(flat):
            u = wp.normalize(a)
        b = b - u * wp.dot(u, b)
        w = across(u)
        if wp.length(b) > real(tiny) * wp.length(a) and wp.length(b) > real(flat):
            w = wp.normalize(b)
        if swap:
            return columns(w, u, wp.cross(w, u))
        return columns(u, w, wp.cross(u, w))

    @wp.func
    def stretches(F: mat33, U: mat33, V: mat33) -> vec3:
        return vec3(
            wp.dot(column(U, 0), F * column(V, 0)),
            wp.dot(column(U, 1), F * column(V, 1)),
            wp.dot(column(U, 2), F * column(V, 2)),
        )

    @wp.func
    def largest_entry(F: mat33) -> real:
        """Largest entry by size, 1 where all are 0: what F is divided by, so that no square overflows or vanishes."""
        size = real(0.0)
        for j in range(3):
            size = wp.max(size, wp.max(wp.abs(column(F, j))))
        return wp.where(size > real(0.0), size, real(1.0))

    @wp.func
    def decomposed(F: mat33):
        """(U, s, V)."""
        size = largest_entry(F)
        V = right_vectors(F / size)
        U = left_vectors(F / size, V)
        return U, size * stretches(F / size, U, V), V

    @wp.func
    def clamped(s: vec3, limit: real) -> vec3:
        low = real(1.0) / limit
        return vec3(wp.clamp(s[0], low, limit), wp.clamp(s[1], low, limit), wp.clamp(s[2], low, limit))

    @wp.func
    def limited(F: mat33, limit: real) -> mat33:
        """F with its stretches held within [1 / limit, limit]."""
        if limit == real(0.0) or within(F, limit):
            return F
        U, s, V = decomposed(F)
        f = clamped(s, limit)
        if f == s:
            return F
        return U * wp.diag(f) * wp.transpose(V)

    @wp.func
    def limited_adjoint(F: mat33, G: mat33, limit: real) -> mat33:
        """Gradient with respect to F from the gradient G with respect to `limited(F, limit)`."""
        if limit == real(0.0) or within(F, limit):
            return G
        U, s, V = decomposed(F)
        f = clamped(s, limit)
        if f == s:
            return G
        B = wp.transpose(U) * G * V
        C = mat33()
        near = real(1e-3) / limit
        for i in range(3):
            slope_i = wp.where(f[i] == s[i], real(1.0), real(0.0))
            C[i, i] = slope_i * B[i, i]
            for j in range(i + 1, 3):
                slope = real(0.5) * (slope_i + wp.where(f[j] == s[j], real(1.0), real(0.0)))
                if wp.abs(s[i] - s[j]) > real(tiny) * limit:
                    slope = (f[i] - f[j]) / (s[i] - s[j])
                even = slope * real(0.5) * (B[i, j] + B[j, i])
                odd = (f[i] + f[j]) / wp.max(s[i] + s[j], near) * real(0.5) * (B[i, j] - B[j, i])
                C[i, j] = even + odd
                C[j, i] = even - odd
        return U * C * wp.transpose(V)

    return limited, limited_adjoint
