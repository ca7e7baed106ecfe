"""Splats as a camera sees them: centre, ellipse, depth and opacity in the image, and what of the image they can reach.

A Gaussian of mean X and covariance M M^T has the image p = K distort(R X + t) and, to first order, the covariance S = (J R M)(J R M)^T with
J the Jacobian of the projection at the mean (Zwicker et al., EWA Splatting, 2002, equation 29). The image is band-limited by
S + BLUR I (Kerbl et al., 3D Gaussian Splatting, 2023), and the opacity times sqrt(det S / det(S + BLUR I)) keeps what the splat covers in
sum (Yu et al., Mip-Splatting, 2024, equation 8, with the screen filter's own normalisation).

The ellipse is kept as (k, g, h): with d = pixel - p and e = d_x - k d_y, the exponent is -(g e^2 + h d_y^2) / 2, that is k = S_xy / S_yy,
g = S_yy / det S, h = 1 / S_yy. Long thin ellipses keep their digits so, which they lose as entries of the inverse of S.
"""

import warp as wp

BLUR = wp.constant(0.3)  # [pixel^2], as 3DGS
LEAST_RATIO = wp.constant(2.5e-5)  # of determinants: the root has no slope at 0, where a flat splat is seen edge-on
FARTHEST = wp.constant(1.0e12)  # [m] and [pixel]: what is larger is not drawn, squares of it would not be finite
LEAST_ALPHA = wp.constant(1.0 / 255.0)  # what covers less of a pixel does not count

Coefficients = wp.types.vector(8, wp.float32)


@wp.func
def distort(lens: Coefficients, x: float, y: float):
    """OpenCV's distortion of a point (x / z, y / z) by k1, k2, p1, p2, k3, k4, k5, k6."""
    r = x * x + y * y
    radial = (1.0 + r * (lens[0] + r * (lens[1] + r * lens[4]))) / (1.0 + r * (lens[5] + r * (lens[6] + r * lens[7])))
    u = x * radial + 2.0 * lens[2] * x * y + lens[3] * (r + 2.0 * x * x)
    v = y * radial + lens[2] * (r + 2.0 * y * y) + 2.0 * lens[3] * x * y
    return wp.vec2(u, v)


@wp.func
def distort_jacobian(lens: Coefficients, x: float, y: float):
    """(du/dx, du/dy = dv/dx, dv/dy) of `distort`."""
    r = x * x + y * y
    top = 1.0 + r * (lens[0] + r * (lens[1] + r * lens[4]))
    below = 1.0 + r * (lens[5] + r * (lens[6] + r * lens[7]))
    radial = top / below
    slope = (lens[0] + r * (2.0 * lens[1] + 3.0 * r * lens[4]) - radial * (lens[5] + r * (2.0 * lens[6] + 3.0 * r * lens[7]))) / below
    xx = radial + 2.0 * x * x * slope + 2.0 * lens[2] * y + 6.0 * lens[3] * x
    xy = 2.0 * x * y * slope + 2.0 * lens[2] * x + 2.0 * lens[3] * y
    yy = radial + 2.0 * y * y * slope + 6.0 * lens[2] * y + 2.0 * lens[3] * x
    return wp.vec3(xx, xy, yy)


@wp.kernel
def project(
    antialias: int,
    near: float,
    focal: wp.vec2,
    centre: wp.vec2,
    low: wp.vec2,
    high: wp.vec2,
    fold: float,
    lens: Coefficients,
    rotation: wp.array(dtype=wp.mat33),
    translation: wp.array(dtype=wp.vec3),
    means: wp.array(dtype=wp.vec3),
    factors: wp.array(dtype=wp.mat33),
    opacities: wp.array(dtype=float),
    screen_out: wp.array(dtype=wp.vec2),
    shape_out: wp.array(dtype=wp.vec3),
    depth_out: wp.array(dtype=float),
    alpha_out: wp.array(dtype=float),
):
    """A thread a splat. What is not before the camera, or beyond `fold` (squared distance from the axis, where the lens model turns back),
    or of absurd size keeps what the outputs held (zeros). The Jacobian is taken within `low` and `high` (x / z, y / z), as 3DGS clamps
    it: far outside the view the first order means nothing."""
    i = wp.tid()
    X = wp.mat33d(rotation[0]) * wp.vec3d(means[i]) + wp.vec3d(translation[0])  # differences of large numbers, seen enlarged
    z = float(X[2])
    if z > near and z < FARTHEST and wp.ddot(factors[i], factors[i]) < FARTHEST * FARTHEST:
        inverse = 1.0 / z
        x = float(X[0] / X[2])
        y = float(X[1] / X[2])
        local = distort_jacobian(lens, x, y)
        if x * x + y * y < fold and local[0] * local[2] > local[1] * local[1]:
            p = distort(lens, x, y)
            tx = wp.clamp(x, low[0], high[0])
            ty = wp.clamp(y, low[1], high[1])
            J = distort_jacobian(lens, tx, ty)
            row_u = wp.vec3(J[0], J[1], -(J[0] * tx + J[1] * ty)) * (focal[0] * inverse)
            row_v = wp.vec3(J[1], J[2], -(J[1] * tx + J[2] * ty)) * (focal[1] * inverse)
            A = wp.transpose(rotation[0] * factors[i])
            u = A * row_u
            v = A * row_v
            n = wp.cross(u, v)
            sharp = wp.dot(n, n)  # det S without the cancellation of S_xx S_yy - S_xy^2
            uu = wp.dot(u, u)
            vv = wp.dot(v, v)
            full = sharp + BLUR * (uu + vv + BLUR)
            wide = vv + BLUR
            if uu + vv < FARTHEST and wp.abs(p[0]) + wp.abs(p[1]) < FARTHEST:
                screen_out[i] = wp.vec2(focal[0] * p[0] + centre[0], focal[1] * p[1] + centre[1])
                shape_out[i] = wp.vec3(wp.dot(u, v) / wide, wide / full, 1.0 / wide)
                if antialias != 0:
                    alpha_out[i] = opacities[i] * wp.sqrt(wp.max(sharp / full, LEAST_RATIO))
                else:
                    alpha_out[i] = opacities[i]
                depth_out[i] = z


@wp.func
def reach(shape: wp.vec3, alpha: float):
    """Half the ellipse's height and width where the splat still covers LEAST_ALPHA [pixel], and how far beyond its centre's row it is
    widest; zeros where it covers less everywhere."""
    size = wp.vec3(0.0)
    if alpha > LEAST_ALPHA and shape[1] > 0.0 and shape[2] > 0.0:
        room = 2.0 * wp.log(alpha / LEAST_ALPHA)
        wide = 1.0 / shape[2]
        across = 1.0 / shape[1] + shape[0] * shape[0] * wide  # S_xx
        width = wp.sqrt(room * across)
        size = wp.vec3(wp.sqrt(room * wide), width, shape[0] * wide * width / across)
    return size


@wp.func
def span(screen: wp.vec2, shape: wp.vec3, size: wp.vec3, top: float, bottom: float):
    """Least and greatest x of the ellipse between two heights (y of the image) that both lie within it."""
    low = wp.max(top - screen[1], -size[0])
    high = wp.min(bottom - screen[1], size[0])
    right = wp.clamp(size[2], low, high)  # the edges are convex: their extremes within a band are the nearest to their own
    left = wp.clamp(-size[2], low, high)
    room = size[0] * size[0] * shape[2]
    x0 = shape[0] * left - wp.sqrt(wp.max(room - shape[2] * left * left, 0.0) / shape[1])
    x1 = shape[0] * right + wp.sqrt(wp.max(room - shape[2] * right * right, 0.0) / shape[1])
    return wp.vec2(screen[0] + x0, screen[0] + x1)
