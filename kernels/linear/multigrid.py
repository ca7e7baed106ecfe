"""Conjugate gradient preconditioned by a V-cycle of unsmoothed aggregation with rigid modes.

The matrix is that of `conjugate_gradient`: 3 x 3 blocks padded to 3 x 4, diagonal first, then the strictly lower triangle by rows.
Each aggregate of particles moves as a rigid body about its centre c: u_i = t + w x (x_i - c), six unknowns; coarser levels put
rigid bodies together in the same way, and every coarse matrix is the Galerkin product P^T A P. The coarsest is factorised densely.

Native form (CPU): one thread an environment, one sweep of Gauss-Seidel down and one back up, which is symmetric and converges for
every positive definite matrix; gather and scatter of a row share one pass over the lower triangle. Who goes into which aggregate
(the `plan`) is made once on the host; the products are made for every matrix, with the positions of that matrix.

Where the pieces of a model do not touch, coarsening ends with a node a piece; above DENSE nodes the last level is swept like the others,
which solves it exactly where no node has a neighbour.

Every Galerkin product of a positive definite matrix is positive definite: a negative pivot anywhere proves that the fine matrix
is not, and is reported (status 1) before an iteration is spent. A pivot that vanishes (an aggregate of one particle, or of
particles in a line, has no rotation) is left out.
Set-up and solve stand in one file because they share the layout of the plan and of the work arrays.
Sources: Vanek, Mandel and Brezina 1996 (aggregation with rigid modes); Notay 2010 (no smoothing of the prolongation).
"""

import warp as wp

FIELDS = 8  # integers of a level in the plan: n, row begin, columns, aggregates, targets, diagonal, mirror, work
FINE_WORK = 40  # scalars of work a particle: inverse block, arm, and six vectors, in rows of four
DENSE = 64  # nodes up to which the last level is factorised
HEADER = 1  # integers before them: the number of levels

_COMMON = r"""
typedef SCALAR S;
typedef REAL R;
typedef S v4 __attribute__((vector_size(4 * sizeof(S)), aligned(sizeof(S))));
typedef double v8 __attribute__((vector_size(8 * sizeof(double)), aligned(8)));
const int* __restrict__ plan = plan_.data;
const int levels = plan[0];
auto field = [&](int l, int k) { return plan[HEADER + FIELDS * l + k]; };
auto dense = [&](int l) { return l == levels && field(l, 0) <= DENSE; };
S* __restrict__ fine_work = (S*)((char*)fine_work_.data + (size_t)env * fine_work_.strides[0]);
double* __restrict__ work = (double*)((char*)work_.data + (size_t)env * work_.strides[0]);
const int n = field(0, 0);
const v4* __restrict__ A = (const v4*)((const char*)values.data + (size_t)env * values.strides[0]);
const v4* __restrict__ L = A + 3 * n;
const int* __restrict__ begin = plan + field(0, 1);
const int* __restrict__ col = plan + field(0, 2);
const int* __restrict__ group = plan + field(0, 3);
v4* __restrict__ D = (v4*)fine_work;
v4* __restrict__ arm = D + 3 * n;  // position relative to the aggregate's centre
"""

_SETUP = (
    _COMMON
    + r"""
const R* __restrict__ xs = (const R*)((const char*)positions.data + (size_t)env * positions.strides[0]);
const int* __restrict__ target = plan + field(0, 4);
int status = 0;
for (int i = 0; i < n; ++i) {  // inverse diagonal blocks
  const v4* B = A + 3 * i;
  S a = B[0][0], e = B[0][1], c = B[0][2], d = B[1][1], f = B[1][2], g = B[2][2];
  S k0 = d * g - f * f, k1 = c * f - e * g, k2 = e * f - c * d, m = a * d - e * e, det = a * k0 + e * k1 + c * k2;
  if (a > 0 && m > 0 && det > 0) {
    S s = 1 / det;
    D[3 * i] = (v4){k0 * s, k1 * s, k2 * s, 0};
    D[3 * i + 1] = (v4){k1 * s, (a * g - c * c) * s, (e * c - a * f) * s, 0};
    D[3 * i + 2] = (v4){k2 * s, (e * c - a * f) * s, m * s, 0};
  } else { status = 1; }
}
if (status) { status_out.data[env] = 1; return; }
// Pivots are weighed against the sum of the absolute contributions to their diagonal entry, of which they are what cancellation
// has left: below `small` of it a pivot is rounding and left out; only one that rounding cannot explain counts as negative.
const double small = sizeof(S) == 4 ? 1e-6 : 1e-12, negative = sizeof(S) == 4 ? -1e-4 : -1e-10;
// inverse of a symmetric 6 x 6 matrix in columns of eight
auto invert = [&](const double* B, const double* scale, double* out) {
  double M[6][6], pivot[6];
  int bad = 0;
  for (int c = 0; c < 6; ++c) for (int r = 0; r < 6; ++r) M[r][c] = B[8 * c + r];
  for (int k = 0; k < 6; ++k) {
    double d = M[k][k];
    for (int j = 0; j < k; ++j) d -= M[k][j] * M[k][j] * pivot[j];
    if (d < negative * scale[k]) bad = 1;
    const bool keep = d > small * scale[k];
    pivot[k] = keep ? d : 0;
    for (int r = k + 1; r < 6; ++r) {
      double s = M[r][k];
      for (int j = 0; j < k; ++j) s -= M[r][j] * M[k][j] * pivot[j];
      M[r][k] = keep ? s / d : 0;
    }
  }
  for (int c = 0; c < 6; ++c) {
    double y[6];
    for (int r = 0; r < 6; ++r) { y[r] = r == c; for (int j = 0; j < r; ++j) y[r] -= M[r][j] * y[j]; }
    for (int r = 5; r >= 0; --r) {
      y[r] = pivot[r] > 0 ? y[r] / pivot[r] : 0;
      for (int j = r + 1; j < 6; ++j) y[r] -= M[j][r] * y[j];
      if (!(pivot[r] > 0)) y[r] = 0;
    }
    for (int r = 0; r < 6; ++r) out[8 * c + r] = y[r];
    out[8 * c + 6] = out[8 * c + 7] = 0;
  }
  return bad;
};
for (int l = 1; l <= levels; ++l) {
  const int m = field(l, 0), fine = field(l - 1, 0);
  const int* __restrict__ cbegin = plan + field(l, 1);
  const int nnz = cbegin[m];
  double* __restrict__ C = work + field(l, 7);
  double* __restrict__ inverse = C + 48 * (size_t)nnz;
  double* __restrict__ centre = inverse + 48 * (size_t)m;  // eight a node: centre (3), arm (3), weight
  double* __restrict__ scale = centre + 8 * (size_t)m;  // in the place of the solve's x
  for (size_t k = 0; k < 48 * (size_t)nnz; ++k) C[k] = 0;
  for (int k = 0; k < 16 * m; ++k) centre[k] = 0;
  const int* __restrict__ gather = plan + field(l - 1, 3);
  const int* __restrict__ to = plan + field(l - 1, 4);
  if (l == 1) {
    for (int i = 0; i < n; ++i) if (gather[i] >= 0) {
      double* c = centre + 8 * gather[i];
      for (int a = 0; a < 3; ++a) c[a] += xs[3 * i + a];
      c[6] += 1;
    }
  } else {
    const double* below = work + field(l - 1, 7) + 48 * ((size_t)(plan + field(l - 1, 1))[fine] + fine);
    for (int i = 0; i < fine; ++i) {
      double* c = centre + 8 * gather[i];
      for (int a = 0; a < 3; ++a) c[a] += below[8 * i + a];
      c[6] += 1;
    }
  }
  for (int k = 0; k < m; ++k) for (int a = 0; a < 3; ++a) centre[8 * k + a] /= centre[8 * k + 6];
  if (l == 1) {
    for (int i = 0; i < n; ++i) {
      arm[i] = (v4){0, 0, 0, 0};
      if (gather[i] >= 0) for (int a = 0; a < 3; ++a) arm[i][a] = (S)(xs[3 * i + a] - centre[8 * gather[i] + a]);
    }
    for (int i = 0; i < n; ++i) {
      for (int s = begin[i] - 1; s < begin[i + 1]; ++s) {
        const bool diagonal = s < begin[i];
        const int t = diagonal ? target[i] : target[n + s];
        if (t < 0) continue;
        const S twice = !diagonal && gather[i] == gather[col[s]] ? 2 : 1;  // a pair inside an aggregate: K + K^T
        const v4* B = diagonal ? A + 3 * i : L + 3 * s;
        const int j = diagonal ? i : col[s];
        double* K = C + 48 * (size_t)(t >> 1);
        v4 ri = arm[i], rj = arm[j], a0, a1, a2;
        if (t & 1) { v4 h = ri; ri = rj; rj = h; a0 = B[0]; a1 = B[1]; a2 = B[2]; }
        else {
          a0 = (v4){B[0][0], B[1][0], B[2][0], 0}; a1 = (v4){B[0][1], B[1][1], B[2][1], 0}; a2 = (v4){B[0][2], B[1][2], B[2][2], 0};
        }
        const v4 c[6] = {a0, a1, a2, rj[1] * a2 - rj[2] * a1, rj[2] * a0 - rj[0] * a2, rj[0] * a1 - rj[1] * a0};
        const bool inside = gather[i] == gather[j];
        for (int q = 0; q < 6; ++q) {
          const v4 u = twice * c[q];
          const v8 k = {u[0], u[1], u[2], ri[1] * u[2] - ri[2] * u[1], ri[2] * u[0] - ri[0] * u[2], ri[0] * u[1] - ri[1] * u[0], 0, 0};
          *(v8*)(K + 8 * q) += k;
          if (inside) scale[8 * gather[i] + q] += __builtin_fabs(k[q]);
        }
      }
    }
  } else {
    double* F = work + field(l - 1, 7);
    const int* fbegin = plan + field(l - 1, 1);
    const int* fcol = plan + field(l - 1, 2);
    double* below = F + 48 * ((size_t)fbegin[fine] + fine);
    for (int i = 0; i < fine; ++i) for (int a = 0; a < 3; ++a) below[8 * i + 3 + a] = below[8 * i + a] - centre[8 * gather[i] + a];
    for (int i = 0; i < fine; ++i) {
      for (int s = fbegin[i]; s < fbegin[i + 1]; ++s) {
        const int t = to[s];
        if (t < 0) continue;
        const double* B = F + 48 * (size_t)s;
        double* K = C + 48 * (size_t)(t >> 1);
        const double *ri = below + 8 * i + 3, *rj = below + 8 * fcol[s] + 3;
        v8 c[6];
        for (int q = 0; q < 6; ++q) c[q] = *(const v8*)(B + 8 * q);
        c[3] += rj[1] * c[2] - rj[2] * c[1]; c[4] += rj[2] * c[0] - rj[0] * c[2]; c[5] += rj[0] * c[1] - rj[1] * c[0];
        const bool inside = gather[i] == gather[fcol[s]];
        for (int q = 0; q < 6; ++q) {
          const v8 u = c[q];
          const v8 k = {u[0], u[1], u[2], u[3] + ri[1] * u[2] - ri[2] * u[1], u[4] + ri[2] * u[0] - ri[0] * u[2],
                        u[5] + ri[0] * u[1] - ri[1] * u[0], 0, 0};
          *(v8*)(K + 8 * q) += k;
          if (inside) scale[8 * gather[i] + q] += __builtin_fabs(k[q]);
        }
      }
    }
  }
  const int* __restrict__ mirror = plan + field(l, 6);
  const int* __restrict__ diagonal = plan + field(l, 5);
  for (int k = 0; k < m; ++k) {
    double* K = C + 48 * (size_t)diagonal[k];
    for (int q = 0; q < 6; ++q) for (int r = 0; r < q; ++r) K[8 * q + r] = K[8 * r + q] = (K[8 * q + r] + K[8 * r + q]) / 2;
  }
  for (int s = 0; s < nnz; ++s) if (mirror[s] < s) {
    const double* from = C + 48 * (size_t)s;
    double* into = C + 48 * (size_t)mirror[s];
    for (int q = 0; q < 6; ++q) for (int r = 0; r < 6; ++r) into[8 * q + r] = from[8 * r + q];
  }
  if (!dense(l)) {
    for (int k = 0; k < m; ++k) status |= invert(C + 48 * (size_t)diagonal[k], scale + 8 * k, inverse + 48 * (size_t)k);
  } else {  // dense Cholesky in double precision, unit lower times pivots; rows of the upper triangle
    const int size = 6 * m;
    double* M = (double*)(centre + 32 * (size_t)m);
    for (int k = 0; k < size * size; ++k) M[k] = 0;
    const int* ccol = plan + field(l, 2);
    for (int i = 0; i < m; ++i) for (int s = cbegin[i]; s < cbegin[i + 1]; ++s)
      for (int q = 0; q < 6; ++q) for (int r = 0; r < 6; ++r) M[(6 * i + r) * size + 6 * ccol[s] + q] = C[48 * (size_t)s + 8 * q + r];
    for (int k = 0; k < size; ++k) {
      const double d = M[k * size + k], given = scale[8 * (k / 6) + k % 6];
      if (d < negative * given) status = 1;
      const bool keep = d > small * given;
      const double s = keep ? 1 / d : 0;
      M[k * size + k] = s;
      for (int r = k + 1; r < size; ++r) {
        const double f = M[k * size + r] * s;
        if (f != 0) for (int q = r; q < size; ++q) M[r * size + q] -= f * M[k * size + q];
      }
    }
  }
  if (status) break;
}
status_out.data[env] = status;
"""
)

_SOLVE = (
    _COMMON
    + r"""
const R* __restrict__ b = (const R*)((const char*)right.data + (size_t)env * right.strides[0]);
R* __restrict__ out = (R*)((char*)x_out.data + (size_t)env * x_out.strides[0]);
v4 *__restrict__ x = arm + n, *__restrict__ r = x + n, *__restrict__ p = r + n, *__restrict__ q = p + n, *__restrict__ z = q + n;
v4 *__restrict__ left = z + n;
const int entries = entry_count.data[env];
const int* __restrict__ entry_row = (const int*)((const char*)entry_rows.data + (size_t)env * entry_rows.strides[0]);
const int* __restrict__ entry_column = (const int*)((const char*)entry_columns.data + (size_t)env * entry_columns.strides[0]);
const v4* __restrict__ E = (const v4*)((const char*)entry_blocks.data + (size_t)env * entry_blocks.strides[0]);
auto times = [](const v4* B, v4 u) { v4 c0 = B[0] * u, c1 = B[1] * u, c2 = B[2] * u;
  v4 s = {c0[0] + c0[1] + c0[2], c1[0] + c1[1] + c1[2], c2[0] + c2[1] + c2[2], 0}; return s; };
auto times_transposed = [](const v4* B, v4 u) { return B[0] * u[0] + B[1] * u[1] + B[2] * u[2]; };
auto dot = [](v4 u, v4 v) { v4 m = u * v; return (double)(m[0] + m[1] + m[2]); };
auto times6 = [](const double* B, v8 u) { const v8* c = (const v8*)B;
  return c[0] * u[0] + c[1] * u[1] + c[2] * u[2] + c[3] * u[3] + c[4] * u[4] + c[5] * u[5]; };
const v4 zero = {0, 0, 0, 0};
const v8 zero8 = {0, 0, 0, 0, 0, 0, 0, 0};
struct Level { int m; const int *begin, *col, *group, *diagonal; double *C, *inverse, *centre; v8 *x, *b, *r; };
auto level = [&](int l) {
  Level v;
  v.m = field(l, 0); v.begin = plan + field(l, 1); v.col = plan + field(l, 2); v.group = plan + field(l, 3);
  v.diagonal = plan + field(l, 5);
  v.C = work + field(l, 7); v.inverse = v.C + 48 * (size_t)v.begin[v.m]; v.centre = v.inverse + 48 * (size_t)v.m;
  v.x = (v8*)(v.centre + 8 * (size_t)v.m); v.b = v.x + v.m; v.r = v.b + v.m;
  return v;
};
auto coarse = [&]() {  // levels 1 and up, for the right side in level 1's b
  for (int l = 1; l <= levels; ++l) {
    if (dense(l)) break;
    const Level f = level(l);
    for (int i = 0; i < f.m; ++i) {  // down: Gauss-Seidel from zero
      v8 s = f.b[i];
      for (int k = f.begin[i]; k < f.diagonal[i]; ++k) s -= times6(f.C + 48 * (size_t)k, f.x[f.col[k]]);
      f.x[i] = times6(f.inverse + 48 * (size_t)i, s);
    }
    if (l == levels) break;
    const Level c = level(l + 1);
    for (int i = 0; i < c.m; ++i) c.b[i] = zero8;
    for (int i = 0; i < f.m; ++i) {  // what is left of the right side: minus the strict upper triangle times x
      v8 s = zero8;
      for (int k = f.diagonal[i] + 1; k < f.begin[i + 1]; ++k) s -= times6(f.C + 48 * (size_t)k, f.x[f.col[k]]);
      const double* a = f.centre + 8 * i + 3;
      c.b[f.group[i]] += (v8){s[0], s[1], s[2], s[3] + a[1] * s[2] - a[2] * s[1], s[4] + a[2] * s[0] - a[0] * s[2],
                              s[5] + a[0] * s[1] - a[1] * s[0], 0, 0};
    }
  }
  if (dense(levels)) {
    const Level c = level(levels);
    const int size = 6 * c.m;
    const double* M = (const double*)(c.r + c.m);
    double* y = (double*)(M + (size_t)size * size);
    for (int i = 0; i < c.m; ++i) for (int a = 0; a < 6; ++a) y[6 * i + a] = c.b[i][a];
    for (int k = 0; k < size; ++k) {
      const double* row = M + (size_t)k * size;
      const double f = row[k] * y[k];
      for (int a = k + 1; a < size; ++a) y[a] -= f * row[a];
      y[k] = f;
    }
    for (int k = size - 1; k >= 0; --k) {
      const double* row = M + (size_t)k * size;
      double s = 0;
      for (int a = k + 1; a < size; ++a) s += row[a] * y[a];
      y[k] -= row[k] * s;
    }
    for (int i = 0; i < c.m; ++i) c.x[i] = (v8){y[6 * i], y[6 * i + 1], y[6 * i + 2], y[6 * i + 3], y[6 * i + 4], y[6 * i + 5], 0, 0};
  }
  for (int l = dense(levels) ? levels - 1 : levels; l >= 1; --l) {
    const Level f = level(l);
    const v8* above = l < levels ? level(l + 1).x : nullptr;
    for (int i = 0; above && i < f.m; ++i) {
      const v8 u = above[f.group[i]];
      const double* a = f.centre + 8 * i + 3;
      f.x[i] += (v8){u[0] + u[4] * a[2] - u[5] * a[1], u[1] + u[5] * a[0] - u[3] * a[2], u[2] + u[3] * a[1] - u[4] * a[0],
                     u[3], u[4], u[5], 0, 0};
    }
    for (int i = f.m - 1; i >= 0; --i) {  // up: Gauss-Seidel backwards
      v8 s = f.b[i];
      for (int k = f.begin[i]; k < f.begin[i + 1]; ++k) if (k != f.diagonal[i]) s -= times6(f.C + 48 * (size_t)k, f.x[f.col[k]]);
      f.x[i] = times6(f.inverse + 48 * (size_t)i, s);
    }
  }
};
auto precondition = [&]() {  // z = M^-1 r; returns r . z
  const Level c = level(1);
  for (int i = 0; i < n; ++i) left[i] = zero;
  for (int i = 0; i < n; ++i) {
    v4 s = r[i];
    for (int k = begin[i]; k < begin[i + 1]; ++k) s -= times(L + 3 * k, z[col[k]]);
    const v4 u = times_transposed(D + 3 * i, s);
    z[i] = u;
    for (int k = begin[i]; k < begin[i + 1]; ++k) left[col[k]] -= times_transposed(L + 3 * k, u);
  }
  for (int i = 0; i < c.m; ++i) c.b[i] = zero8;
  for (int i = 0; i < n; ++i) if (group[i] >= 0) {
    const v4 s = left[i], a = arm[i];
    c.b[group[i]] += (v8){s[0], s[1], s[2], a[1] * s[2] - a[2] * s[1], a[2] * s[0] - a[0] * s[2], a[0] * s[1] - a[1] * s[0], 0, 0};
  }
  coarse();
  for (int i = 0; i < n; ++i) {
    left[i] = zero;
    if (group[i] < 0) continue;
    const v8 u = c.x[group[i]];
    const v4 a = arm[i];
    z[i] += (v4){(S)(u[0] + u[4] * a[2] - u[5] * a[1]), (S)(u[1] + u[5] * a[0] - u[3] * a[2]), (S)(u[2] + u[3] * a[1] - u[4] * a[0]), 0};
  }
  double rz = 0;
  for (int i = n - 1; i >= 0; --i) {
    v4 s = r[i] - left[i];
    for (int k = begin[i]; k < begin[i + 1]; ++k) s -= times(L + 3 * k, z[col[k]]);
    const v4 u = times_transposed(D + 3 * i, s);
    z[i] = u;
    for (int k = begin[i]; k < begin[i + 1]; ++k) left[col[k]] += times_transposed(L + 3 * k, u);
    rz += dot(r[i], u);
  }
  return rz;
};
int status = status_out.data[env], it = 0;
for (int i = 0; i < n; ++i) {
  x[i] = zero;
  r[i] = free_.data[i] ? (v4){(S)b[3 * i], (S)b[3 * i + 1], (S)b[3 * i + 2], 0} : zero;
}
double rz = 0;
if (status == 0) {
  rz = precondition();
  for (int i = 0; i < n; ++i) p[i] = z[i];
}
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
  for (int k = 0; k < entries; ++k) {  // contact; the preconditioner knows its diagonal blocks only
    const v4* B = E + 3 * k;
    q[entry_row[k]] += times(B, p[entry_column[k]]);
    q[entry_column[k]] += times_transposed(B, p[entry_row[k]]);
  }
  double pq = 0;
  for (int i = 0; i < n; ++i) pq += dot(p[i], q[i]);
  if (!(pq > 0)) { status = 1; break; }
  const S alpha = (S)(rz / pq);
  for (int i = 0; i < n; ++i) { x[i] += alpha * p[i]; r[i] -= alpha * q[i]; }
  ++it;
  const double next = precondition();
  const S beta = (S)(next / rz);
  rz = next;
  for (int i = 0; i < n; ++i) p[i] = z[i] + beta * p[i];
}
if (!(rz >= 0)) status = 1;
for (int i = 0; i < n; ++i) { out[3 * i] = x[i][0]; out[3 * i + 1] = x[i][1]; out[3 * i + 2] = x[i][2]; }
iterations_out.data[env] = it;
status_out.data[env] = status;
"""
)


def native_kernels(real, block_real):
    """CPU kernels `setup` (products and factors of the matrix in `values`) and `solve`, one thread an environment.

    `fine_work` holds FINE_WORK scalars a particle; `work` the coarse levels, at the places that the plan gives.
    """
    vec3 = wp.types.vector(3, real)
    Block = wp.types.matrix((3, 4), block_real)
    names = {wp.float32: "float", wp.float64: "double"}

    def source(text):
        for name, value in {"HEADER": HEADER, "FIELDS": FIELDS, "DENSE": DENSE, "SCALAR": names[block_real], "REAL": names[real]}.items():
            text = text.replace(name, str(value))
        return text

    @wp.func_native(source(_SETUP))
    def set_up(
        env: int,
        plan_: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        positions: wp.array2d(dtype=vec3),
        fine_work_: wp.array2d(dtype=block_real),
        work_: wp.array2d(dtype=wp.float64),
        status_out: wp.array(dtype=int),
    ): ...

    @wp.func_native(source(_SOLVE))
    def conjugate_gradient(
        env: int,
        limit: int,
        tolerance: wp.array(dtype=wp.float64),
        free_: wp.array(dtype=int),
        plan_: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        entry_count: wp.array(dtype=int),
        entry_rows: wp.array2d(dtype=int),
        entry_columns: wp.array2d(dtype=int),
        entry_blocks: wp.array2d(dtype=Block),
        right: wp.array2d(dtype=vec3),
        fine_work_: wp.array2d(dtype=block_real),
        work_: wp.array2d(dtype=wp.float64),
        x_out: wp.array2d(dtype=vec3),
        iterations_out: wp.array(dtype=int),
        status_out: wp.array(dtype=int),
    ): ...

    @wp.kernel(module="unique", enable_backward=False)
    def setup(
        first: int,
        active: wp.array(dtype=int),
        plan: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        positions: wp.array2d(dtype=vec3),
        fine_work: wp.array2d(dtype=block_real),
        work: wp.array2d(dtype=wp.float64),
        status_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        if active[env] != 0:
            set_up(env, plan, values, positions, fine_work, work, status_out)

    @wp.kernel(module="unique", enable_backward=False)
    def solve(
        first: int,
        active: wp.array(dtype=int),
        limit: int,
        tolerance: wp.array(dtype=wp.float64),
        free: wp.array(dtype=int),
        plan: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        entry_count: wp.array(dtype=int),
        entry_rows: wp.array2d(dtype=int),
        entry_columns: wp.array2d(dtype=int),
        entry_blocks: wp.array2d(dtype=Block),
        right: wp.array2d(dtype=vec3),
        fine_work: wp.array2d(dtype=block_real),
        work: wp.array2d(dtype=wp.float64),
        x_out: wp.array2d(dtype=vec3),
        iterations_out: wp.array(dtype=int),
        status_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        if active[env] != 0:
            conjugate_gradient(
                env,
                limit,
                tolerance,
                free,
                plan,
                values,
                entry_count,
                entry_rows,
                entry_columns,
                entry_blocks,
                right,
                fine_work,
                work,
                x_out,
                iterations_out,
                status_out,
            )

    return {"setup": setup, "solve": solve}
