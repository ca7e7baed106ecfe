"""Blending, a thread a pixel: what a GPU runs, and the plain twin of `kernels.render.tile_blending`.

Nearest splat first, with a_k = alpha_k exp(-(g e^2 + h d_y^2) / 2) at the pixel (`kernels.render.projection` has the symbols):

    alpha = min(a, 2 a - 2 LEAST_ALPHA, ALPHA_MAX), and 0 where that is negative
    weight_k = alpha_k T_k,   T_{k+1} = T_k (1 - alpha_k),   T_0 = 1
    features = sum weight_k features_k + T background,   alpha = sum weight_k,   depth = sum weight_k z_k / sum weight_k

as 3DGS (Kerbl et al. 2023, equation 3), whose contributions end with a step at 1 / 255: here they go to zero between 2 / 255 and
1 / 255, so that the image is a continuous function of the splats and its gradient is complete. A pixel ends when T < LEAST_LIGHT, and
before the first splat beyond its depth limit.

Backward, with q_k = dL/dweight_k = features_k . v_features + v_alpha + v_depth (z_k - depth) / alpha_sum and the suffix
S_k = sum_{j > k} weight_j q_j + T v_features . background:  dL/dalpha_k = T_k q_k - S_k / (1 - alpha_k).
"""

import warp as wp

ALPHA_MAX = wp.constant(0.999)
LEAST_LIGHT = wp.constant(1.0e-5)
