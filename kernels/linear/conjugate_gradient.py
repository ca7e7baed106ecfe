"""Block-Jacobi preconditioned conjugate gradient on a symmetric block matrix.

The matrix holds 3 x 3 blocks padded to 3 x 4 (rows of four, for vector registers): `values[env, 0:n]` are the diagonal blocks,
`values[env, n:]` the strictly lower triangle in compressed rows. Beside it stands a list of blocks in no order, those of contact. The
four particles of a rigid body's frame are one block of the preconditioner (in the parallel form by `kernels.linear.frame_blocks`). Two
forms of the same method:

- `native`: one thread an environment, the whole solve in one launch, vectorised by the compiler's vector types (CPU);
- `parallel`: one launch an operation, scalars stay on the device (CUDA; runs on a CPU too, where a test compares the two).

Both stop when the preconditioned residual norm has fallen by `tolerance[env]`, after `limit` iterations, or at a direction of no
positive curvature (status 1: the matrix is not positive definite; the iterate reached so far is returned).
Source: Saad, Iterative Methods for Sparse Linear Systems, algorithm 9.1.
"""

import warp as wp

_SNIPPET = r"""
typedef SCALAR S;
typedef S v4 __attribute__((vector_size(4 * sizeof(S))));
typedef REAL R;
const v4* __restrict__ A = (const v4*)((const char*)values.data + (size_t)env * values.strides[0]);
const v4* __restrict__ L = A + 3 * n;
const int* __restrict__ begin = row_begin.data;
const int* __restrict__ col = columns.data;
const R* __restrict__ b = (const R*)((const char*)right.data + (size_t)env * right.strides[0]);
R* __restrict__ out = (R*)((char*)x_out.data + (size_t)env * x_out.strides[0]);
v4* __restrict__ w = (v4*)((char*)work.data + (size_t)env * work.strides[0]);
v4 *__restrict__ D = w, *__restrict__ x = w + 3 * n, *__restrict__ r = w + 4 * n, *__restrict__ p = w + 5 * n;
v4 *__restrict__ q = w + 6 * n, *__restrict__ z = w + 7 * n;
const int entries = entry_count.data[env];
const int* __restrict__ entry_row = (const int*)((const char*)entry_rows.data + (size_t)env * entry_rows.strides[0]);
const int* __restrict__ entry_column = (const int*)((const char*)entry_columns.data + (size_t)env * entry_columns.strides[0]);
const v4* __restrict__ E = (const v4*)((const char*)entry_blocks.data + (size_t)env * entry_blocks.strides[0]);
auto times = [](const v4* B, v4 u) { v4 c0 = B[0] * u, c1 = B[1] * u, c2 = B[2] * u;
  v4 s = {c0[0] + c0[1] + c0[2], c1[0] + c1[1] + c1[2], c2[0] + c2[1] + c2[2], 0}; return s; };
auto times_transposed = [](const v4* B, v4 u) { return B[0] * u[0] + B[1] * u[1] + B[2] * u[2]; };
auto dot = [](v4 u, v4 v) { v4 m = u * v; return (double)(m[0] + m[1] + m[2]); };
const v4 zero = {0, 0, 0, 0};
int status = 0, it = 0;
double rz = 0;
const int frame_count = frames.shape[0];
double* __restrict__ M = (double*)((char*)frame_work.data + (size_t)env * frame_work.strides[0]);
auto within = [&](int i) {  // frame of a particle, or -1
  int low = 0, high = frame_count;
  while (low < high) { const int m = (low + high) / 2; if (frames.data[m] <= i) low = m + 1; else high = m; }
  return low > 0 && i < frames.data[low - 1] + 4 ? low - 1 : -1;
};
for (int f = 0; f < frame_count; ++f) {  // a frame's four particles are one block of twelve
  double* F = M + 156 * f;
  const int at = frames.data[f];
  for (int k = 0; k < 144; ++k) F[k] = 0;
  auto put = [&](int i, int j, const v4* B) {
    for (int r = 0; r < 3; ++r) for (int c = 0; c < 3; ++c) F[12 * (3 * (i - at) + r) + 3 * (j - at) + c] += B[r][c];
  };
  for (int i = at; i < at + 4; ++i) {
    put(i, i, A + 3 * i);
    for (int s = begin[i]; s < begin[i + 1]; ++s) if (col[s] >= at && col[s] < at + 4) put(i, col[s], L + 3 * s);
  }
}
for (int k = 0; frame_count && k < entries; ++k) {
  const int f = within(entry_row[k]);
  if (f >= 0 && f == within(entry_column[k])) {
    const int i = entry_row[k] - frames.data[f], j = entry_column[k] - frames.data[f];
    for (int r = 0; r < 3; ++r) for (int c = 0; c < 3; ++c) M[156 * f + 12 * (3 * i + r) + 3 * j + c] += E[3 * k + r][c];
  }
}
for (int f = 0; f < frame_count; ++f) {  // Cholesky of the lower triangle
  double* F = M + 156 * f;
  for (int r = 0; r < 12; ++r) for (int c = 0; c <= r; ++c) {
    double s = F[12 * r + c];
    for (int k = 0; k < c; ++k) s -= F[12 * r + k] * F[12 * c + k];
    if (r == c) { if (!(s > 0)) { status = 1; s = 1; } F[12 * r + r] = 1 / sqrt(s); } else F[12 * r + c] = s * F[12 * c + c];
  }
}
auto frame_solve = [&](const v4* from, v4* to) {  // of all frames; returns from . to
  double sum = 0;
  for (int f = 0; f < frame_count; ++f) {
    const double* F = M + 156 * f;
    double* y = M + 156 * f + 144;
    const int at = frames.data[f];
    for (int r = 0; r < 12; ++r) {
      double s = from[at + r / 3][r % 3];
      for (int c = 0; c < r; ++c) s -= F[12 * r + c] * y[c];
      y[r] = s * F[12 * r + r];
    }
    for (int r = 11; r >= 0; --r) {
      double s = y[r];
      for (int c = r + 1; c < 12; ++c) s -= F[12 * c + r] * y[c];
      y[r] = s * F[12 * r + r];
    }
    for (int a = 0; a < 4; ++a) {
      to[at + a] = (v4){(S)y[3 * a], (S)y[3 * a + 1], (S)y[3 * a + 2], 0};
      sum += dot(from[at + a], to[at + a]);
    }
  }
  return sum;
};
for (int i = 0; i < n; ++i) {
  const v4* B = A + 3 * i;
  const bool own = frame_count == 0 || within(i) < 0;
  S a = B[0][0], e = B[0][1], c = B[0][2], d = B[1][1], f = B[1][2], g = B[2][2];
  S k0 = d * g - f * f, k1 = c * f - e * g, k2 = e * f - c * d, m = a * d - e * e, det = a * k0 + e * k1 + c * k2;
  if (!own) { D[3 * i] = D[3 * i + 1] = D[3 * i + 2] = zero; }
  else if (a > 0 && m > 0 && det > 0) {
    S s = 1 / det;
    D[3 * i] = (v4){k0 * s, k1 * s, k2 * s, 0};
    D[3 * i + 1] = (v4){k1 * s, (a * g - c * c) * s, (e * c - a * f) * s, 0};
    D[3 * i + 2] = (v4){k2 * s, (e * c - a * f) * s, m * s, 0};
  } else {
    status = 1;
    S s = a + d + g; s = s > 0 ? 3 / s : 1;
    D[3 * i] = (v4){s, 0, 0, 0}; D[3 * i + 1] = (v4){0, s, 0, 0}; D[3 * i + 2] = (v4){0, 0, s, 0};
  }
  v4 ri = {(S)b[3 * i], (S)b[3 * i + 1], (S)b[3 * i + 2], 0};
  if (!free_.data[i]) ri = zero;
  v4 zi = times_transposed(D + 3 * i, ri);
  x[i] = zero; r[i] = ri; p[i] = zi; rz += dot(ri, zi);
}
rz += frame_solve(r, p);
const double first = rz, share = tolerance.data[env];
while (status == 0 && it < limit && rz > share * share * first) {
  for (int i = 0; i < n; ++i) {
    v4 pi = p[i], acc = times_transposed(A + 3 * i, pi);
    for (int s = begin[i]; s < begin[i + 1]; ++s) {
      const v4* B = L + 3 * s;
      acc += times(B, p[col[s]]);
      q[col[s]] += times_transposed(B, pi);
    }
    q[i] = acc;
  }
  for (int k = 0; k < entries; ++k) {
    const v4* B = E + 3 * k;
    q[entry_row[k]] += times(B, p[entry_column[k]]);
    q[entry_column[k]] += times_transposed(B, p[entry_row[k]]);
  }
  double pq = 0;
  for (int i = 0; i < n; ++i) pq += dot(p[i], q[i]);
  if (!(pq > 0)) { status = 1; break; }
  S alpha = (S)(rz / pq);
  double next = 0;
  for (int i = 0; i < n; ++i) {
    x[i] += alpha * p[i];
    v4 ri = r[i] - alpha * q[i], zi = times_transposed(D + 3 * i, ri);
    r[i] = ri; z[i] = zi; next += dot(ri, zi);
  }
  next += frame_solve(r, z);
  S beta = (S)(next / rz);
  rz = next;
  for (int i = 0; i < n; ++i) p[i] = z[i] + beta * p[i];
  ++it;
}
if (!(rz >= 0)) status = 1;
for (int i = 0; i < n; ++i) { out[3 * i] = x[i][0]; out[3 * i + 1] = x[i][1]; out[3 * i + 2] = x[i][2]; }
iterations_out.data[env] = it;
status_out.data[env] = status;
"""


def native_kernel(real, block_real):
    """CPU kernel of the whole solve, one thread an environment; `work` has 8 n rows of four `block_real` an environment."""
    vec3 = wp.types.vector(3, real)
    Row = wp.types.vector(4, block_real)
    Block = wp.types.matrix((3, 4), block_real)
    names = {wp.float32: "float", wp.float64: "double"}

    @wp.func_native(_SNIPPET.replace("SCALAR", names[block_real]).replace("REAL", names[real]))
    def solve(
        env: int,
        n: int,
        limit: int,
        tolerance: wp.array(dtype=wp.float64),
        free_: wp.array(dtype=int),
        row_begin: wp.array(dtype=int),
        columns: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        entry_count: wp.array(dtype=int),
        entry_rows: wp.array2d(dtype=int),
        entry_columns: wp.array2d(dtype=int),
        entry_blocks: wp.array2d(dtype=Block),
        frames: wp.array(dtype=int),
        frame_work: wp.array2d(dtype=wp.float64),
        right: wp.array2d(dtype=vec3),
        work: wp.array2d(dtype=Row),
        x_out: wp.array2d(dtype=vec3),
        iterations_out: wp.array(dtype=int),
        status_out: wp.array(dtype=int),
    ): ...

    @wp.kernel(module="unique", enable_backward=False)
    def conjugate_gradient(
        first: int,
        active: wp.array(dtype=int),
        n: int,
        limit: int,
        tolerance: wp.array(dtype=wp.float64),
        free: wp.array(dtype=int),
        row_begin: wp.array(dtype=int),
        columns: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        entry_count: wp.array(dtype=int),
        entry_rows: wp.array2d(dtype=int),
        entry_columns: wp.array2d(dtype=int),
        entry_blocks: wp.array2d(dtype=Block),
        frames: wp.array(dtype=int),
        frame_work: wp.array2d(dtype=wp.float64),
        right: wp.array2d(dtype=vec3),
        work: wp.array2d(dtype=Row),
        x_out: wp.array2d(dtype=vec3),
        iterations_out: wp.array(dtype=int),
        status_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        if active[env] != 0:
            solve(
                env,
                n,
                limit,
                tolerance,
                free,
                row_begin,
                columns,
                values,
                entry_count,
                entry_rows,
                entry_columns,
                entry_blocks,
                frames,
                frame_work,
                right,
                work,
                x_out,
                iterations_out,
                status_out,
            )

    return conjugate_gradient


def parallel_kernels(real, block_real):
    """One kernel an operation (`begin`, `start`, `multiply`, `inner`, `scalars`, `advance`, `direction`, `finish`); scalars on the device.

    `flags[env]`: 0 running, 1 no positive curvature, 2 converged. `scalars[env] = (rz, pq, first rz, next rz)`.
    """
    vec3 = wp.types.vector(3, real)
    v3 = wp.types.vector(3, block_real)
    mat33 = wp.types.matrix((3, 3), block_real)
    Block = wp.types.matrix((3, 4), block_real)

    @wp.func
    def square(B: Block) -> mat33:
        return mat33(B[0, 0], B[0, 1], B[0, 2], B[1, 0], B[1, 1], B[1, 2], B[2, 0], B[2, 1], B[2, 2])

    @wp.kernel(module="unique", enable_backward=False)
    def start(
        active: wp.array(dtype=int),
        free: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        right: wp.array2d(dtype=vec3),
        inverse_out: wp.array2d(dtype=mat33),
        x_out: wp.array2d(dtype=v3),
        r_out: wp.array2d(dtype=v3),
        z_out: wp.array2d(dtype=v3),
        p_out: wp.array2d(dtype=v3),
        flags_out: wp.array(dtype=int),
    ):
        """`flags_out` comes in from `begin`: 0 for active environments and 2 for the others."""
        env, i = wp.tid()
        b = right[env, i]
        r = v3()
        if free[i] != 0:
            r = v3(block_real(b[0]), block_real(b[1]), block_real(b[2]))
        A = square(values[env, i])
        minor = A[0, 0] * A[1, 1] - A[0, 1] * A[0, 1]
        if active[env] != 0 and not (A[0, 0] > block_real(0.0) and minor > block_real(0.0) and wp.determinant(A) > block_real(0.0)):
            flags_out[env] = 1
        D = wp.inverse(A)
        inverse_out[env, i] = D
        z = D * r
        x_out[env, i] = v3()
        r_out[env, i] = r
        z_out[env, i] = z
        p_out[env, i] = z

    @wp.kernel(module="unique", enable_backward=False)
    def multiply(
        flags: wp.array(dtype=int),
        row_begin: wp.array(dtype=int),
        columns: wp.array(dtype=int),
        slots: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        p: wp.array2d(dtype=v3),
        q_out: wp.array2d(dtype=v3),
    ):
        """q = A p over the full pattern: slot n is block n, -1 - n its transpose."""
        env, i = wp.tid()
        if flags[env] != 0:
            return
        s = square(values[env, i]) * p[env, i]
        for k in range(row_begin[i], row_begin[i + 1]):
            n = slots[k]
            u = p[env, columns[k]]
            if n >= 0:
                s += square(values[env, n]) * u
            else:
                s += wp.transpose(square(values[env, -1 - n])) * u
        q_out[env, i] = s

    @wp.kernel(module="unique", enable_backward=False)
    def multiply_entries(
        flags: wp.array(dtype=int),
        count: wp.array(dtype=int),
        rows: wp.array2d(dtype=int),
        columns: wp.array2d(dtype=int),
        blocks: wp.array2d(dtype=Block),
        p: wp.array2d(dtype=v3),
        q_out: wp.array2d(dtype=v3),
    ):
        """Add the blocks beside the pattern; atomic, so that on CUDA the order of the sums is not fixed."""
        env, k = wp.tid()
        if flags[env] != 0 or k >= count[env]:
            return
        i = rows[env, k]
        j = columns[env, k]
        B = square(blocks[env, k])
        wp.atomic_add(q_out, env, i, B * p[env, j])
        wp.atomic_add(q_out, env, j, wp.transpose(B) * p[env, i])

    @wp.kernel(module="unique", enable_backward=False)
    def begin(active: wp.array(dtype=int), flags_out: wp.array(dtype=int), iterations_out: wp.array(dtype=int)):
        env = wp.tid()
        flags_out[env] = wp.where(active[env] != 0, 0, 2)
        iterations_out[env] = 0

    @wp.kernel(module="unique", enable_backward=False)
    def inner(
        count: int,
        parts: int,
        a: wp.array2d(dtype=v3),
        b: wp.array2d(dtype=v3),
        partial_out: wp.array2d(dtype=wp.float64),
        running_out: wp.array(dtype=int),
    ):
        """Partial sums of every `parts`-th term; clears `running_out`, which `scalars` sets again."""
        env, c = wp.tid()
        if env == 0 and c == 0:
            running_out[0] = 0
        s = wp.float64(0.0)
        for i in range(c, count, parts):
            s += wp.float64(wp.dot(a[env, i], b[env, i]))
        partial_out[env, c] = s

    @wp.kernel(module="unique", enable_backward=False)
    def scalars(
        which: int,
        parts: int,
        limit: int,
        tolerance: wp.array(dtype=wp.float64),
        partial: wp.array2d(dtype=wp.float64),
        scalars_out: wp.array2d(dtype=wp.float64),
        flags_out: wp.array(dtype=int),
        iterations_out: wp.array(dtype=int),
        running_out: wp.array(dtype=int),
    ):
        """which 0: rz of the start; 1: p.q; 2: rz after the update, and the stopping tests. `running_out`: any environment is."""
        env = wp.tid()
        s = wp.float64(0.0)
        for c in range(parts):
            s += partial[env, c]
        if which == 0:
            scalars_out[env, 0] = s
            scalars_out[env, 2] = s
            if flags_out[env] == 0 and s <= wp.float64(0.0):
                flags_out[env] = 2
        if flags_out[env] != 0:
            return
        if which == 1:
            scalars_out[env, 1] = s
            if not (s > wp.float64(0.0)):
                flags_out[env] = 1
        if which == 2:
            scalars_out[env, 3] = s / scalars_out[env, 0]
            scalars_out[env, 0] = s
            iterations_out[env] = iterations_out[env] + 1
            if s <= tolerance[env] * tolerance[env] * scalars_out[env, 2] or iterations_out[env] >= limit:
                flags_out[env] = 2
        if flags_out[env] == 0:
            running_out[0] = 1

    @wp.kernel(module="unique", enable_backward=False)
    def advance(
        flags: wp.array(dtype=int),
        scalar: wp.array2d(dtype=wp.float64),
        inverse: wp.array2d(dtype=mat33),
        p: wp.array2d(dtype=v3),
        q: wp.array2d(dtype=v3),
        x_out: wp.array2d(dtype=v3),
        r_out: wp.array2d(dtype=v3),
        z_out: wp.array2d(dtype=v3),
    ):
        env, i = wp.tid()
        if flags[env] != 0:
            return
        alpha = block_real(scalar[env, 0] / scalar[env, 1])
        x_out[env, i] = x_out[env, i] + alpha * p[env, i]
        r = r_out[env, i] - alpha * q[env, i]
        r_out[env, i] = r
        z_out[env, i] = inverse[env, i] * r

    @wp.kernel(module="unique", enable_backward=False)
    def direction(
        flags: wp.array(dtype=int),
        scalar: wp.array2d(dtype=wp.float64),
        z: wp.array2d(dtype=v3),
        p_out: wp.array2d(dtype=v3),
    ):
        env, i = wp.tid()
        if flags[env] == 0:
            p_out[env, i] = z[env, i] + block_real(scalar[env, 3]) * p_out[env, i]

    @wp.kernel(module="unique", enable_backward=False)
    def finish(
        active: wp.array(dtype=int),
        flags: wp.array(dtype=int),
        x: wp.array2d(dtype=v3),
        x_out: wp.array2d(dtype=vec3),
        status_out: wp.array(dtype=int),
    ):
        env, i = wp.tid()
        if i == 0:
            status_out[env] = wp.where(flags[env] == 1, 1, 0)
        if active[env] != 0:
            u = x[env, i]
            x_out[env, i] = vec3(real(u[0]), real(u[1]), real(u[2]))

    return {
        "begin": begin,
        "start": start,
        "multiply": multiply,
        "multiply_entries": multiply_entries,
        "inner": inner,
        "scalars": scalars,
        "advance": advance,
        "direction": direction,
        "finish": finish,
    }
