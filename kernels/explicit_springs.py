"""Many symplectic Euler steps of damped springs in one launch, eight springs at a time (CPU).

The same scheme and the same law as `kernels.explicit.march_kernel` called with `kernels.laws.spring`, which is its plain twin (a
test compares the two): here positions stand in rows of four for vector registers, and a spring's old length is kept instead of
computed again.
"""

import warp as wp

_SNIPPET = r"""
typedef SCALAR S;
typedef S v4 __attribute__((vector_size(4 * sizeof(S))));
typedef S v8 __attribute__((vector_size(8 * sizeof(S))));
S* __restrict__ xs = (S*)((char*)x_out.data + (size_t)env * x_out.strides[0]);
S* __restrict__ ys = (S*)((char*)x1_out.data + (size_t)env * x1_out.strides[0]);
S* __restrict__ vs = (S*)((char*)v_out.data + (size_t)env * v_out.strides[0]);
S* __restrict__ us = (S*)((char*)v1_out.data + (size_t)env * v1_out.strides[0]);
const S* __restrict__ inertia = (const S*)((const char*)inertia_.data + (size_t)env * inertia_.strides[0]);
v4* __restrict__ x = (v4*)((char*)rows.data + (size_t)env * rows.strides[0]);
v4 *__restrict__ v = x + n, *__restrict__ f = x + 2 * n, *__restrict__ y = x + 3 * n;
S* __restrict__ columns = (S*)((char*)springs.data + (size_t)env * springs.strides[0]);
const int size = 8 * blocks;
v8 *k = (v8*)columns, *L = (v8*)(columns + size), *c = (v8*)(columns + 2 * size), *old = (v8*)(columns + 3 * size);
const int* __restrict__ i0 = ends.data;
const int* __restrict__ i1 = ends.data + size;
const v4 zero = {0, 0, 0, 0};
const v8 tiny = {(S)1e-12, (S)1e-12, (S)1e-12, (S)1e-12, (S)1e-12, (S)1e-12, (S)1e-12, (S)1e-12};
for (int i = 0; i < n; ++i) {
  x[i] = (v4){xs[3 * i], xs[3 * i + 1], xs[3 * i + 2], 0};
  y[i] = (v4){ys[3 * i], ys[3 * i + 1], ys[3 * i + 2], 0};
  v[i] = (v4){vs[3 * i], vs[3 * i + 1], vs[3 * i + 2], 0};
  f[i] = zero;
}
#define SHUFFLE __builtin_shufflevector
#define LENGTHS(p, b, d, l) \
  v4 d[8]; \
  for (int q = 0; q < 8; ++q) d[q] = p[i0[8 * b + q]] - p[i1[8 * b + q]]; \
  v8 l; { \
    v4 t0 = SHUFFLE(d[0], d[1], 0, 4, 1, 5), t1 = SHUFFLE(d[0], d[1], 2, 6, 3, 7); \
    v4 t2 = SHUFFLE(d[2], d[3], 0, 4, 1, 5), t3 = SHUFFLE(d[2], d[3], 2, 6, 3, 7); \
    v4 u0 = SHUFFLE(d[4], d[5], 0, 4, 1, 5), u1 = SHUFFLE(d[4], d[5], 2, 6, 3, 7); \
    v4 u2 = SHUFFLE(d[6], d[7], 0, 4, 1, 5), u3 = SHUFFLE(d[6], d[7], 2, 6, 3, 7); \
    v8 X = SHUFFLE(SHUFFLE(t0, t2, 0, 1, 4, 5), SHUFFLE(u0, u2, 0, 1, 4, 5), 0, 1, 2, 3, 4, 5, 6, 7); \
    v8 Y = SHUFFLE(SHUFFLE(t0, t2, 2, 3, 6, 7), SHUFFLE(u0, u2, 2, 3, 6, 7), 0, 1, 2, 3, 4, 5, 6, 7); \
    v8 Z = SHUFFLE(SHUFFLE(t1, t3, 0, 1, 4, 5), SHUFFLE(u1, u3, 0, 1, 4, 5), 0, 1, 2, 3, 4, 5, 6, 7); \
    l = __builtin_elementwise_max(__builtin_elementwise_sqrt(X * X + Y * Y + Z * Z), tiny); }
for (int b = 0; b < blocks; ++b) { LENGTHS(y, b, d, l) old[b] = l; }
for (int s = 0; s < count; ++s) {
  for (int b = 0; b < blocks; ++b) {
    LENGTHS(x, b, d, l)
    v8 pull = (k[b] * (l - L[b]) + c[b] * (l - old[b]) * rate) / l;
    old[b] = l;
    for (int q = 0; q < 8; ++q) { v4 w = pull[q] * d[q]; f[i0[8 * b + q]] += w; f[i1[8 * b + q]] -= w; }
  }
  const bool last = s == count - 1;
  for (int i = 0; i < n; ++i) {
    if (last) for (int a = 0; a < 3; ++a) { ys[3 * i + a] = x[i][a]; us[3 * i + a] = v[i][a]; }
    if (free_.data[i]) {
      const S* m = inertia + 5 * i;
      const v4 gravity = {m[2], m[3], m[4], 0};
      v4 w = (1 - dt * m[1]) * v[i] - dt * (f[i] / m[0] - gravity);
      v[i] = w;
      x[i] += dt * w;
    }
    f[i] = zero;
  }
}
for (int i = 0; i < n; ++i)
  for (int a = 0; a < 3; ++a) { xs[3 * i + a] = x[i][a]; vs[3 * i + a] = v[i][a]; }
"""


def march_springs_kernel(real):
    """CPU kernel of `count` steps of a spring net.

    `rows` gives 4 n rows of four an environment; `springs` holds stiffness, rest length, damping and room for the old length, each
    of 8 `blocks` entries (padded by springs of no stiffness between two different particles); `ends` the particles, first
    ends, then second ends. `rate` is 1 / dt.
    """
    vec3 = wp.types.vector(3, real)
    Row = wp.types.vector(4, real)
    Inertia = wp.types.vector(5, real)
    scalar = {wp.float32: "float", wp.float64: "double"}[real]

    @wp.func_native(_SNIPPET.replace("SCALAR", scalar))
    def run(
        env: int,
        n: int,
        blocks: int,
        count: int,
        dt: real,
        rate: real,
        free_: wp.array(dtype=int),
        ends: wp.array(dtype=int),
        inertia_: wp.array2d(dtype=Inertia),
        springs: wp.array2d(dtype=real),
        rows: wp.array2d(dtype=Row),
        x_out: wp.array2d(dtype=vec3),
        x1_out: wp.array2d(dtype=vec3),
        v_out: wp.array2d(dtype=vec3),
        v1_out: wp.array2d(dtype=vec3),
    ): ...

    @wp.kernel(module="unique", enable_backward=False)
    def march_springs(
        first: int,
        n: int,
        blocks: int,
        count: int,
        dt: real,
        rate: real,
        free: wp.array(dtype=int),
        ends: wp.array(dtype=int),
        inertia: wp.array2d(dtype=Inertia),
        springs: wp.array2d(dtype=real),
        rows: wp.array2d(dtype=Row),
        x_out: wp.array2d(dtype=vec3),
        x1_out: wp.array2d(dtype=vec3),
        v_out: wp.array2d(dtype=vec3),
        v1_out: wp.array2d(dtype=vec3),
    ):
        e, once = wp.tid()
        run(first + e, n, blocks, count, dt, rate, free, ends, inertia, springs, rows, x_out, x1_out, v_out, v1_out)

    return march_springs
