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
#define SHUFFLE __builtin_shufflevector
#define FMA __builtin_elementwise_fma
#define ROW(rows, byte) (*(v4*)((char*)(rows) + (size_t)(byte) * (sizeof(S) / 4)))
S* __restrict__ xs = (S*)((char*)x_out.data + (size_t)env * x_out.strides[0]);
S* __restrict__ ys = (S*)((char*)x1_out.data + (size_t)env * x1_out.strides[0]);
S* __restrict__ vs = (S*)((char*)v_out.data + (size_t)env * v_out.strides[0]);
S* __restrict__ us = (S*)((char*)v1_out.data + (size_t)env * v1_out.strides[0]);
const S* __restrict__ inertia = (const S*)((const char*)inertia_.data + (size_t)env * inertia_.strides[0]);
v4* __restrict__ x = (v4*)((char*)rows.data + (size_t)env * rows.strides[0]);
v4 *__restrict__ v = x + n, *__restrict__ f = x + 2 * n, *__restrict__ push = x + 3 * n, *__restrict__ give = x + 4 * n;
v8* __restrict__ k = (v8*)((char*)springs.data + (size_t)env * springs.strides[0]);
v8 *__restrict__ L = k + blocks, *__restrict__ c = L + blocks, *__restrict__ old = c + blocks;
const unsigned* __restrict__ firsts = (const unsigned*)ends.data;
const unsigned* __restrict__ seconds = firsts + 8 * groups;
const int* __restrict__ start = ends.data + 8 * groups + 8 * blocks;
const v4 zero = {0, 0, 0, 0};
const v8 tiny = (S)1e-12 + (v8){0, 0, 0, 0, 0, 0, 0, 0};

// Eight particles, and each one's springs to others in turn: vectors along eight springs into d; their lengths.
auto apart = [&](int b, const v4* __restrict__ x0, v4* __restrict__ d) __attribute__((always_inline)) -> v8 {
  const unsigned* e = seconds + 8 * b;
  #pragma unroll
  for (int q = 0; q < 8; ++q) d[q] = x0[q] - ROW(x, e[q]);
  v4 t0 = SHUFFLE(d[0], d[1], 0, 4, 1, 5), t1 = SHUFFLE(d[0], d[1], 2, 6, 3, 7);
  v4 t2 = SHUFFLE(d[2], d[3], 0, 4, 1, 5), t3 = SHUFFLE(d[2], d[3], 2, 6, 3, 7);
  v4 u0 = SHUFFLE(d[4], d[5], 0, 4, 1, 5), u1 = SHUFFLE(d[4], d[5], 2, 6, 3, 7);
  v4 u2 = SHUFFLE(d[6], d[7], 0, 4, 1, 5), u3 = SHUFFLE(d[6], d[7], 2, 6, 3, 7);
  v8 X = SHUFFLE(SHUFFLE(t0, t2, 0, 1, 4, 5), SHUFFLE(u0, u2, 0, 1, 4, 5), 0, 1, 2, 3, 4, 5, 6, 7);
  v8 Y = SHUFFLE(SHUFFLE(t0, t2, 2, 3, 6, 7), SHUFFLE(u0, u2, 2, 3, 6, 7), 0, 1, 2, 3, 4, 5, 6, 7);
  v8 Z = SHUFFLE(SHUFFLE(t1, t3, 0, 1, 4, 5), SHUFFLE(u1, u3, 0, 1, 4, 5), 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_elementwise_max(__builtin_elementwise_sqrt(FMA(Z, Z, FMA(Y, Y, X * X))), tiny);
};
// The same, and the springs' pull over their lengths.
auto pull = [&](int b, const v4* __restrict__ x0, v4* __restrict__ d) __attribute__((always_inline)) -> v8 {
  const v8 l = apart(b, x0, d);
  v8 p = k[b] * (l - L[b]);
  if (damped) {
    p = FMA(c[b], l - old[b], p);
    old[b] = l;
  }
  return p / l;
};

v4 d[8];
for (int i = 0; i < n; ++i) x[i] = (v4){ys[3 * i], ys[3 * i + 1], ys[3 * i + 2], 0};
if (damped)
  for (int g = 0; g < groups; ++g) {
    v4 x0[8];
    for (int q = 0; q < 8; ++q) x0[q] = ROW(x, firsts[8 * g + q]);
    for (int b = start[g]; b < start[g + 1]; ++b) old[b] = apart(b, x0, d);
  }
for (int i = 0; i < n; ++i) {
  // v' = keep v + push - give f: push = dt gravity, give = dt / m and, in its fourth place, keep = 1 - dt alpha
  const S* m = inertia + 5 * i;
  const S moves = free_.data[i] ? dt : (S)0, h = moves / m[0];
  x[i] = (v4){xs[3 * i], xs[3 * i + 1], xs[3 * i + 2], 0};
  v[i] = (v4){vs[3 * i], vs[3 * i + 1], vs[3 * i + 2], 0};
  push[i] = (v4){moves * m[2], moves * m[3], moves * m[4], 0};
  give[i] = (v4){h, h, h, 1 - moves * m[1]};
  f[i] = zero;
}
for (int s = 0; s < count; ++s) {
  for (int g = 0; g < groups; ++g) {
    const unsigned* i0 = firsts + 8 * g;
    v4 x0[8], sum[8];
    #pragma unroll
    for (int q = 0; q < 8; ++q) {
      x0[q] = ROW(x, i0[q]);
      sum[q] = zero;
    }
    for (int b = start[g]; b < start[g + 1]; ++b) {
      const v8 p = pull(b, x0, d);
      const unsigned* i1 = seconds + 8 * b;
      #pragma unroll
      for (int q = 0; q < 8; ++q) {
        const v4 w = d[q] * p[q];
        sum[q] += w;
        ROW(f, i1[q]) -= w;
      }
    }
    #pragma unroll
    for (int q = 0; q < 8; ++q) ROW(f, i0[q]) += sum[q];
  }
  if (s == count - 1)
    for (int i = 0; i < n; ++i)
      for (int a = 0; a < 3; ++a) { ys[3 * i + a] = x[i][a]; us[3 * i + a] = v[i][a]; }
  for (int i = 0; i < n; ++i) {
    const v4 w = FMA(SHUFFLE(give[i], give[i], 3, 3, 3, 3), v[i], FMA(-give[i], f[i], push[i]));
    v[i] = w;
    x[i] = FMA((v4){dt, dt, dt, dt}, w, x[i]);
    f[i] = zero;
  }
}
for (int i = 0; i < n; ++i)
  for (int a = 0; a < 3; ++a) { xs[3 * i + a] = x[i][a]; vs[3 * i + a] = v[i][a]; }
"""


def march_springs_kernel(real):
    """CPU kernel of `count` steps of a spring net.

    `rows` is room for 5 n rows of four an environment. `springs` holds stiffness, rest length, damping / dt and room for the old
    length, each of 8 `blocks` entries. `ends`, as `physsim.physics.solvers.spring_march` lays them out: first particles by group, second
    ones by block (times 16, a row's bytes), and each group's first block. Without `damped`, the damping is not read.
    """
    vec3 = wp.types.vector(3, real)
    Row = wp.types.vector(4, real)
    Inertia = wp.types.vector(5, real)
    scalar = {wp.float32: "float", wp.float64: "double"}[real]

    @wp.func_native(_SNIPPET.replace("SCALAR", scalar))
    def run(
        env: int,
        n: int,
        groups: int,
        blocks: int,
        count: int,
        damped: int,
        dt: real,
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
        groups: int,
        blocks: int,
        count: int,
        damped: int,
        dt: real,
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
        run(first + e, n, groups, blocks, count, damped, dt, free, ends, inertia, springs, rows, x_out, x1_out, v_out, v1_out)

    return march_springs
