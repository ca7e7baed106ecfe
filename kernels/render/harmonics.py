"""Colours by real spherical harmonics of the direction of view, up to degree 3, as 3D Gaussian Splatting orders and signs them."""

import warp as wp

C0 = wp.constant(0.28209479177387814)
C1 = wp.constant(0.4886025119029199)
C20 = wp.constant(1.0925484305920792)
C21 = wp.constant(0.31539156525252005)
C22 = wp.constant(0.5462742152960396)
C30 = wp.constant(0.5900435899266435)
C31 = wp.constant(2.890611442640554)
C32 = wp.constant(0.4570457994644658)
C33 = wp.constant(0.3731763325901154)
C34 = wp.constant(1.445305721320277)


@wp.kernel
def colours(
    count: int,
    harmonics: wp.array2d(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    colours_out: wp.array(dtype=wp.vec3),
):
    """1/2 + the sum of the first `count` (1, 4, 9 or 16) harmonics, at least 0; a thread a splat."""
    i = wp.tid()
    d = directions[i]
    x, y, z = d[0], d[1], d[2]
    c = wp.vec3(0.5, 0.5, 0.5) + C0 * harmonics[i, 0]
    if count > 1:
        c = c - (C1 * y) * harmonics[i, 1] + (C1 * z) * harmonics[i, 2] - (C1 * x) * harmonics[i, 3]
    if count > 4:
        c = c + (C20 * x * y) * harmonics[i, 4] - (C20 * y * z) * harmonics[i, 5]
        c = c + (C21 * (2.0 * z * z - x * x - y * y)) * harmonics[i, 6]
        c = c - (C20 * x * z) * harmonics[i, 7] + (C22 * (x * x - y * y)) * harmonics[i, 8]
    if count > 9:
        c = c - (C30 * y * (3.0 * x * x - y * y)) * harmonics[i, 9] + (C31 * x * y * z) * harmonics[i, 10]
        c = c - (C32 * y * (4.0 * z * z - x * x - y * y)) * harmonics[i, 11]
        c = c + (C33 * z * (2.0 * z * z - 3.0 * x * x - 3.0 * y * y)) * harmonics[i, 12]
        c = c - (C32 * x * (4.0 * z * z - x * x - y * y)) * harmonics[i, 13]
        c = c + (C34 * z * (x * x - y * y)) * harmonics[i, 14] - (C30 * x * (x * x - 3.0 * y * y)) * harmonics[i, 15]
    colours_out[i] = wp.max(c, wp.vec3(0.0, 0.0, 0.0))
