"""Forward kinematics of a tree of joints, and its reverse mode.

Links stand in an order in which every parent comes before its children; link 0 is the root. A link's pose is
    X_l = X_parent(l) O_l J_l(q),
O_l the pose of its joint in the parent, J_l a turn of q [rad] about the axis or a slide of q [m] along it (axis in the child's frame).
Rotations are unit quaternions (w, x, y, z).

A joint at p' moves the origin of a link beyond it, at p, by a x (p - p') and turns it by a, or slides it by a, a its axis in the world.

Reverse mode, from gradients g_p of positions and g_r of quaternions: turning by a small vector w moves a quaternion r = (s, v) by
1/2 (0, w) r, so that g_r acts as the moment 1/2 (s g_v - g_s v + v x g_v). A joint feels the force f = sum g_p and the moment about the
world's origin m = sum (p x g_p + moment) of all links beyond it:
    dL/dq = a . (m - p x f) for a turn, a . f for a slide,
p the link's origin. Source: Featherstone, Rigid Body Dynamics Algorithms (2008), sections 4.4 and 5.3.
"""

import warp as wp

FIXED = wp.constant(0)
TURN = wp.constant(1)
SLIDE = wp.constant(2)


def kinematics_kernels(real):
    """Kernels for one scalar type: `forward`, `jacobians` and `pullback`, one thread an environment.

    Args:
        real: `wp.float32` or `wp.float64`.

    Returns:
        dict name -> kernel.
    """
    vec3 = wp.types.vector(3, real)
    vec4 = wp.types.vector(4, real)

    @wp.func
    def multiply(a: vec4, b: vec4) -> vec4:
        """Product of quaternions (w, x, y, z)."""
        va = vec3(a[1], a[2], a[3])
        vb = vec3(b[1], b[2], b[3])
        v = a[0] * vb + b[0] * va + wp.cross(va, vb)
        return vec4(a[0] * b[0] - wp.dot(va, vb), v[0], v[1], v[2])

    @wp.func
    def turned(r: vec4, x: vec3) -> vec3:
        """A vector turned by a unit quaternion."""
        v = vec3(r[1], r[2], r[3])
        once = wp.cross(v, x)
        return x + real(2.0) * (r[0] * once + wp.cross(v, once))

    @wp.kernel(module="unique", enable_backward=False)
    def forward(
        first: int,
        link_count: int,
        parent: wp.array(dtype=int),
        kind: wp.array(dtype=int),
        column: wp.array(dtype=int),
        axis: wp.array(dtype=vec3),
        origin: wp.array(dtype=vec3),
        orientation: wp.array(dtype=vec4),
        q: wp.array2d(dtype=real),
        positions_out: wp.array2d(dtype=vec3),
        quaternions_out: wp.array2d(dtype=vec4),
    ):
        e, once = wp.tid()
        env = first + e
        for link in range(link_count):
            p = origin[link]
            r = orientation[link]
            if kind[link] == TURN:
                half = real(0.5) * q[env, column[link]]
                v = wp.sin(half) * axis[link]
                r = multiply(r, vec4(wp.cos(half), v[0], v[1], v[2]))
            if kind[link] == SLIDE:
                p = p + q[env, column[link]] * turned(r, axis[link])
            above = parent[link]
            if above >= 0:
                rotation = quaternions_out[env, above]
                p = positions_out[env, above] + turned(rotation, p)
                r = multiply(rotation, r)
            positions_out[env, link] = p
            quaternions_out[env, link] = r

    @wp.kernel(module="unique", enable_backward=False)
    def jacobians(
        first: int,
        link_count: int,
        parent: wp.array(dtype=int),
        kind: wp.array(dtype=int),
        column: wp.array(dtype=int),
        axis: wp.array(dtype=vec3),
        positions: wp.array2d(dtype=vec3),
        quaternions: wp.array2d(dtype=vec4),
        jacobians_out: wp.array4d(dtype=real),
    ):
        """Rows 0-2 move a link's origin, rows 3-5 turn it, in world axes. Columns of joints that do not move it must be zero."""
        e, once = wp.tid()
        env = first + e
        for link in range(link_count):
            p = positions[env, link]
            holder = int(link)
            while holder >= 0:
                a = turned(quaternions[env, holder], axis[holder])
                if kind[holder] == TURN:
                    v = wp.cross(a, p - positions[env, holder])
                    for c in range(3):
                        jacobians_out[env, link, c, column[holder]] = v[c]
                        jacobians_out[env, link, 3 + c, column[holder]] = a[c]
                if kind[holder] == SLIDE:
                    for c in range(3):
                        jacobians_out[env, link, c, column[holder]] = a[c]
                holder = parent[holder]

    @wp.kernel(module="unique", enable_backward=False)
    def pullback(
        first: int,
        link_count: int,
        parent: wp.array(dtype=int),
        kind: wp.array(dtype=int),
        column: wp.array(dtype=int),
        axis: wp.array(dtype=vec3),
        positions: wp.array2d(dtype=vec3),
        quaternions: wp.array2d(dtype=vec4),
        position_gradients: wp.array2d(dtype=vec3),
        quaternion_gradients: wp.array2d(dtype=vec4),
        force: wp.array2d(dtype=vec3),
        moment: wp.array2d(dtype=vec3),
        q_gradient_out: wp.array2d(dtype=real),
    ):
        """`force` and `moment` are room to work in; they must be zero, and so must `q_gradient_out`."""
        e, once = wp.tid()
        env = first + e
        for k in range(link_count):
            link = link_count - 1 - k
            p = positions[env, link]
            r = quaternions[env, link]
            g = quaternion_gradients[env, link]
            v = vec3(r[1], r[2], r[3])
            gv = vec3(g[1], g[2], g[3])
            f = force[env, link] + position_gradients[env, link]
            m = moment[env, link] + wp.cross(p, position_gradients[env, link])
            m += real(0.5) * (r[0] * gv - g[0] * v + wp.cross(v, gv))
            a = turned(r, axis[link])
            if kind[link] == TURN:
                q_gradient_out[env, column[link]] = wp.dot(a, m - wp.cross(p, f))
            if kind[link] == SLIDE:
                q_gradient_out[env, column[link]] = wp.dot(a, f)
            above = parent[link]
            if above >= 0:
                force[env, above] = force[env, above] + f
                moment[env, above] = moment[env, above] + m

    return {"forward": forward, "jacobians": jacobians, "pullback": pullback}
