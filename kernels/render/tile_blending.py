"""Blending on the CPU: a thread draws a tile, splat by splat, over the parts of rows that an ellipse reaches, eight pixels at a time.

The same sums as `kernels.render.pixel_blending`, which is the plain twin (a test compares the two and a reference): see there for the
formulas. A tile's transmittance and sums stay in local rows; what the backward pass finds for a splat in a tile goes to that pair's own
row, so that results do not depend on how tiles are shared among threads.
"""

import math

import warp as wp

from physsim.kernels.render.binning import HEADER, TILE
from physsim.kernels.render.pixel_blending import ALPHA_MAX, LEAST_LIGHT
from physsim.kernels.render.projection import LEAST_ALPHA

_COMMON = r"""
constexpr int CHANNELS = {channels};
static_assert({tile} == 16 && {header} == 8, "the vectors below are of tiles of 16 pixels, the strides of records with 8 columns first");
constexpr float LOW = {least_alpha}f, HIGH = {alpha_max}f, DIM = {least_light}f, HALF_LOG2E = 0.72134752f, LOG2_OF_LOW = {log_alpha}f;
typedef float v8 __attribute__((vector_size(32)));
typedef int i8 __attribute__((vector_size(32)));
typedef float v16 __attribute__((vector_size(64)));
typedef bool b8 __attribute__((ext_vector_type(8)));
typedef bool b16 __attribute__((ext_vector_type(16)));
#define FMA __builtin_elementwise_fma
#define MIN __builtin_elementwise_min
#define MAX __builtin_elementwise_max
const int C = CHANNELS ? CHANNELS : channels;
const int stride = 8 + C;
const int x0 = 16 * (tile % across), y0 = 16 * (tile / across);
const int w = width - x0 < 16 ? width - x0 : 16, h = height - y0 < 16 ? height - y0 : 16;
const int first = begin.data[tile], end = begin.data[tile + 1];
const v8 column = {0, 1, 2, 3, 4, 5, 6, 7};
const v16 row = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
auto all = [](float a) __attribute__((always_inline)) { return a + (v8){0, 0, 0, 0, 0, 0, 0, 0}; };
auto choose = [](i8 mask, v8 a, v8 b) __attribute__((always_inline)) { return (v8)((mask & (i8)a) | (~mask & (i8)b)); };
auto bits8 = [](i8 mask) __attribute__((always_inline)) -> unsigned {
  return __builtin_bit_cast(unsigned char, __builtin_convertvector(mask, b8));
};
// 2^p for p in [-126, 0]: whole part by the exponent, the rest by a polynomial (Cephes, exp2f)
auto exp2 = [&](v8 p) __attribute__((always_inline)) -> v8 {
  const v8 shifted = p + 12582912.0f, f = p - (shifted - 12582912.0f);
  v8 s = FMA(all(1.535336188319500e-4f), f, all(1.339887440266574e-3f));
  s = FMA(s, f, all(9.618437357674640e-3f));
  s = FMA(s, f, all(5.550332471162809e-2f));
  s = FMA(s, f, all(2.402264791363012e-1f));
  s = FMA(s, f, all(6.931472028550421e-1f));
  s = FMA(s, f, all(1.0f));
  return (v8)((i8)s + ((i8)shifted << 23));
};
// How far a has come from LOW (0) to twice that (1), and what counts of it.
auto rise = [&](v8 a) __attribute__((always_inline)) -> v8 { return MIN(MAX(FMA(a, all(1 / LOW), all(-1.0f)), all(0.0f)), all(1.0f)); };
auto tapered = [&](v8 a, v8 u) __attribute__((always_inline)) -> v8 {
  return MIN(FMA(u * u, FMA(u, all(-3 * LOW), all(5 * LOW)), MAX(a - 2 * LOW, all(0.0f))), all(HIGH));
};
float middle[16] __attribute__((aligned(64))), base[16] __attribute__((aligned(64)));
// A splat in this tile: each row's middle and exponent there (base 2), and which rows it reaches in the left and the right half.
auto place = [&](const float* q, unsigned* reached) __attribute__((always_inline)) {
  const float k = q[2], g = q[3] * HALF_LOG2E, hh = q[4] * HALF_LOG2E, level = __builtin_log2f(q[5]);
  const v16 dy = row + ((float)y0 - q[1]);
  const v16 m = dy * k + (q[0] - (float)x0), b = level - dy * dy * hh;
  *(v16*)middle = m;
  *(v16*)base = b;
  const v16 room = (b - LOG2_OF_LOW) * (1.0f / g);
  const v16 r = __builtin_elementwise_sqrt(MAX(room, (v16)(row * 0.0f))) + 0.01f;
  const v16 left = m - r, right = m + r;
  const auto within = (room > 0.0f) & (row < (float)h);
  const auto one = within & (right >= 0.0f) & (left <= 7.0f), two = within & (right >= 8.0f) & (left <= 15.0f);
  reached[0] = __builtin_bit_cast(unsigned short, __builtin_convertvector(one, b16));
  reached[1] = __builtin_bit_cast(unsigned short, __builtin_convertvector(two, b16));
};
"""

_FORWARD = r"""
float T[256] __attribute__((aligned(64))), W[256] __attribute__((aligned(64))), Z[256] __attribute__((aligned(64)));
float kept[256] __attribute__((aligned(64))), limits[256] __attribute__((aligned(64)));
int stop[256] __attribute__((aligned(64)));
float* __restrict__ sums = (float*)((char*)scratch.data + (size_t)slice * scratch.strides[0]);
float* __restrict__ votes = sums + 256 * C;
const bool limited = depth_limit.shape[0] > 0;
float deepest = limited ? 0.0f : 3.4e38f;
int alive = w * h;
for (int p = 0; p < 256; ++p) { T[p] = W[p] = Z[p] = kept[p] = 0; stop[p] = -1; }
for (int p = 0; p < 256 * (C + label_count); ++p) sums[p] = 0;
for (int y = 0; y < h; ++y) for (int x = 0; x < w; ++x) {
  T[16 * y + x] = 1;
  if (limited) {
    const float l = depth_limit.data[(size_t)(y0 + y) * width + x0 + x];
    limits[16 * y + x] = l;
    deepest = l > deepest ? l : deepest;
  }
}
int k = first;
for (; k < end && alive > 0; ++k) {
  const float* __restrict__ q = records.data + (size_t)owners.data[k] * stride;
  if (q[6] > deepest) break;
  unsigned reached[2];
  place(q, reached);
  const v8 g = all(q[3] * HALF_LOG2E), z = all(q[6]);
  v8 f[CHANNELS ? CHANNELS : 1];
  for (int c = 0; c < CHANNELS; ++c) f[c] = all(q[8 + c]);
  float* __restrict__ own = votes + 256 * (int)q[7];
  for (int half = 0; half < 2; ++half)
    for (unsigned rows = reached[half]; rows; rows &= rows - 1) {
      const int r = __builtin_ctz(rows), at = 16 * r + 8 * half;
      v8 t = *(v8*)(T + at);
      if (limited) {
        const i8 beyond = (i8)(z > *(v8*)(limits + at)) & (i8)(t > 0.0f);
        if (bits8(beyond)) {
          for (int a = 0; a < 8; ++a) if (beyond[a]) { kept[at + a] = t[a]; stop[at + a] = k; --alive; }
          t = choose(beyond, all(0.0f), t);
          *(v8*)(T + at) = t;
        }
      }
      const v8 e = column + ((float)(8 * half) - middle[r]);
      const v8 a = exp2(MAX(FMA(e * e, -g, all(base[r])), all(-30.0f)));
      const v8 alpha = tapered(a, rise(a));
      const v8 weight = alpha * t, rest = FMA(-alpha, t, t);
      *(v8*)(W + at) += weight;
      *(v8*)(Z + at) = FMA(weight, z, *(v8*)(Z + at));
      if (CHANNELS) { for (int c = 0; c < CHANNELS; ++c) *(v8*)(sums + 256 * c + at) = FMA(weight, f[c], *(v8*)(sums + 256 * c + at)); }
      else for (int c = 0; c < C; ++c) *(v8*)(sums + 256 * c + at) = FMA(weight, all(q[8 + c]), *(v8*)(sums + 256 * c + at));
      if (label_count) *(v8*)(own + at) += weight;
      *(v8*)(T + at) = rest;
      const i8 full = (i8)(rest < DIM) & (i8)(t > 0.0f);
      if (bits8(full)) {
        for (int a = 0; a < 8; ++a) if (full[a]) { kept[at + a] = rest[a]; stop[at + a] = k + 1; --alive; }
        *(v8*)(T + at) = choose(full, all(0.0f), rest);
      }
    }
}
const bool image = background.shape[0] > 1;
for (int y = 0; y < h; ++y) for (int x = 0; x < w; ++x) {
  const int p = 16 * y + x;
  const size_t at = (size_t)(y0 + y) * width + x0 + x;
  const float t = stop[p] < 0 ? T[p] : kept[p];
  const float* b = background.data + (image ? at * C : 0);
  for (int c = 0; c < C; ++c) features_out.data[at * C + c] = sums[256 * c + p] + t * b[c];
  alpha_out.data[at] = W[p];
  depth_out.data[at] = W[p] > 0 ? Z[p] / W[p] : 0.0f;
  light_out.data[at] = t;
  last_out.data[at] = stop[p] < 0 ? k : stop[p];
  if (label_count) {
    int best = -1;
    float most = 0;
    for (int l = 0; l < label_count; ++l) if (votes[256 * l + p] > most) { most = votes[256 * l + p]; best = l; }
    labels_out.data[at] = best;
  }
}
"""

_BACKWARD = r"""
float T[256] __attribute__((aligned(64))), S[256] __attribute__((aligned(64)));
float vW[256] __attribute__((aligned(64))), vZ[256] __attribute__((aligned(64)));
int stop[256] __attribute__((aligned(64)));
float* __restrict__ V = (float*)((char*)scratch.data + (size_t)slice * scratch.strides[0]);
v8* __restrict__ more = (v8*)(V + 256 * C);
const bool image = background.shape[0] > 1;
int k = first;
for (int p = 0; p < 256; ++p) { T[p] = S[p] = vW[p] = vZ[p] = 0; stop[p] = 0; }
for (int p = 0; p < 256 * C; ++p) V[p] = 0;
for (int y = 0; y < h; ++y) for (int x = 0; x < w; ++x) {
  const int p = 16 * y + x;
  const size_t at = (size_t)(y0 + y) * width + x0 + x;
  const float* b = background.data + (image ? at * C : 0);
  float sum = 0;
  for (int c = 0; c < C; ++c) { const float v = features_grad.data[at * C + c]; V[256 * c + p] = v; sum += b[c] * v; }
  T[p] = light.data[at];
  S[p] = T[p] * sum;
  stop[p] = last.data[at];
  k = stop[p] > k ? stop[p] : k;
  const float share = alpha.data[at] > 0 ? depth_grad.data[at] / alpha.data[at] : 0.0f;
  vZ[p] = share;
  vW[p] = alpha_grad.data[at] - share * depth.data[at];
}
for (int j = k; j < end; ++j) {  // behind all that counts
  float* __restrict__ out = gradients_out.data + (size_t)pairs.data[j] * stride;
  for (int c = 0; c < stride; ++c) out[c] = 0;
}
auto total = [](v8 a) __attribute__((always_inline)) {
  typedef float v4 __attribute__((vector_size(16)));
  const v4 s = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
  return (s[0] + s[2]) + (s[1] + s[3]);
};
for (--k; k >= first; --k) {
  const float* __restrict__ q = records.data + (size_t)owners.data[k] * stride;
  float* __restrict__ out = gradients_out.data + (size_t)pairs.data[k] * stride;
  unsigned reached[2];
  place(q, reached);
  const v8 g = all(q[3] * HALF_LOG2E), z = all(q[6]);
  v8 f[CHANNELS ? CHANNELS : 1], of[CHANNELS ? CHANNELS : 1];
  for (int c = 0; c < CHANNELS; ++c) { f[c] = all(q[8 + c]); of[c] = all(0.0f); }
  if (!CHANNELS) for (int c = 0; c < C; ++c) more[c] = all(0.0f);
  v8 s = all(0.0f), se = s, see = s, sy = s, sey = s, syy = s, oz = s;
  for (int half = 0; half < 2; ++half)
    for (unsigned rows = reached[half]; rows; rows &= rows - 1) {
      const int r = __builtin_ctz(rows), at = 16 * r + 8 * half;
      const v8 e = column + ((float)(8 * half) - middle[r]);
      const v8 a = exp2(MAX(FMA(e * e, -g, all(base[r])), all(-30.0f)));
      const v8 u = rise(a);
      const i8 counts = (i8)(*(i8*)(stop + at) > k) & (i8)(u > 0.0f);
      if (!bits8(counts)) continue;
      const v8 alpha = choose(counts, tapered(a, u), all(0.0f));
      const v8 slope = choose(counts & (i8)(a < HIGH), a * u * FMA(u, all(-9.0f), all(10.0f)), all(0.0f));
      const v8 back = 1.0f / (1.0f - alpha), t = *(v8*)(T + at) * back, after = *(v8*)(S + at), weight = alpha * t;
      v8 value = FMA(z, *(v8*)(vZ + at), *(v8*)(vW + at));
      if (CHANNELS) {
        for (int c = 0; c < CHANNELS; ++c) {
          const v8 v = *(v8*)(V + 256 * c + at);
          value = FMA(f[c], v, value);
          of[c] = FMA(weight, v, of[c]);
        }
      } else for (int c = 0; c < C; ++c) {
        const v8 v = *(v8*)(V + 256 * c + at);
        value = FMA(all(q[8 + c]), v, value);
        more[c] = FMA(weight, v, more[c]);
      }
      oz = FMA(weight, *(v8*)(vZ + at), oz);
      *(v8*)(T + at) = t;
      *(v8*)(S + at) = FMA(weight, value, after);
      const v8 pull = slope * FMA(value, t, -after * back), pull_e = pull * e;
      const v8 dy = all((float)(y0 + r) - q[1]);
      s += pull;
      se += pull_e;
      see = FMA(pull_e, e, see);
      sy = FMA(pull, dy, sy);
      sey = FMA(pull_e, dy, sey);
      syy = FMA(pull * dy, dy, syy);
    }
  const float gse = q[3] * total(se);
  out[0] = gse;
  out[1] = q[4] * total(sy) - q[2] * gse;
  out[2] = q[3] * total(sey);
  out[3] = -0.5f * total(see);
  out[4] = -0.5f * total(syy);
  out[5] = total(s) / q[5];
  out[6] = total(oz);
  out[7] = 0;
  for (int c = 0; c < C; ++c) out[8 + c] = total(CHANNELS ? of[CHANNELS ? c : 0] : more[c]);
}
"""


def _code(body, channels):
    numbers = {"least_alpha": LEAST_ALPHA, "alpha_max": ALPHA_MAX, "least_light": LEAST_LIGHT, "log_alpha": math.log2(LEAST_ALPHA)}
    text = _COMMON.replace("{channels}", str(channels)).replace("{tile}", str(int(TILE))).replace("{header}", str(int(HEADER)))
    for name, value in numbers.items():
        text = text.replace(f"{{{name}}}", f"{float(value)!r}")
    return text + body


def tile_kernels(channels):
    """CPU kernels {"forward", "backward"} of features of `channels` columns, known when compiled; 0: any number, given at launch.

    A thread draws tile `first_tile` + its number. `scratch` has a row for each slice that runs beside others, of 256 (columns + labels)
    floats forward and 264 columns backward.
    """

    @wp.func_native(_code(_FORWARD, channels))
    def draw(
        tile: int,
        slice: int,
        width: int,
        height: int,
        across: int,
        channels: int,
        label_count: int,
        begin: wp.array(dtype=int),
        owners: wp.array(dtype=int),
        records: wp.array2d(dtype=float),
        background: wp.array2d(dtype=float),
        depth_limit: wp.array2d(dtype=float),
        scratch: wp.array2d(dtype=float),
        features_out: wp.array3d(dtype=float),
        alpha_out: wp.array2d(dtype=float),
        depth_out: wp.array2d(dtype=float),
        light_out: wp.array2d(dtype=float),
        last_out: wp.array2d(dtype=int),
        labels_out: wp.array2d(dtype=int),
    ): ...

    @wp.func_native(_code(_BACKWARD, channels))
    def draw_back(
        tile: int,
        slice: int,
        width: int,
        height: int,
        across: int,
        channels: int,
        begin: wp.array(dtype=int),
        owners: wp.array(dtype=int),
        pairs: wp.array(dtype=int),
        records: wp.array2d(dtype=float),
        background: wp.array2d(dtype=float),
        alpha: wp.array2d(dtype=float),
        depth: wp.array2d(dtype=float),
        light: wp.array2d(dtype=float),
        last: wp.array2d(dtype=int),
        features_grad: wp.array3d(dtype=float),
        alpha_grad: wp.array2d(dtype=float),
        depth_grad: wp.array2d(dtype=float),
        scratch: wp.array2d(dtype=float),
        gradients_out: wp.array2d(dtype=float),
    ): ...

    @wp.kernel(module="unique", enable_backward=False)
    def forward(
        first_tile: int,
        slice: int,
        width: int,
        height: int,
        across: int,
        channels: int,
        label_count: int,
        begin: wp.array(dtype=int),
        owners: wp.array(dtype=int),
        records: wp.array2d(dtype=float),
        background: wp.array2d(dtype=float),
        depth_limit: wp.array2d(dtype=float),
        scratch: wp.array2d(dtype=float),
        features_out: wp.array3d(dtype=float),
        alpha_out: wp.array2d(dtype=float),
        depth_out: wp.array2d(dtype=float),
        light_out: wp.array2d(dtype=float),
        last_out: wp.array2d(dtype=int),
        labels_out: wp.array2d(dtype=int),
    ):
        t = first_tile + wp.tid()
        draw(
            t, slice, width, height, across, channels, label_count, begin, owners, records, background, depth_limit, scratch,
            features_out, alpha_out, depth_out, light_out, last_out, labels_out,
        )  # fmt: skip

    @wp.kernel(module="unique", enable_backward=False)
    def backward(
        first_tile: int,
        slice: int,
        width: int,
        height: int,
        across: int,
        channels: int,
        begin: wp.array(dtype=int),
        owners: wp.array(dtype=int),
        pairs: wp.array(dtype=int),
        records: wp.array2d(dtype=float),
        background: wp.array2d(dtype=float),
        alpha: wp.array2d(dtype=float),
        depth: wp.array2d(dtype=float),
        light: wp.array2d(dtype=float),
        last: wp.array2d(dtype=int),
        features_grad: wp.array3d(dtype=float),
        alpha_grad: wp.array2d(dtype=float),
        depth_grad: wp.array2d(dtype=float),
        scratch: wp.array2d(dtype=float),
        gradients_out: wp.array2d(dtype=float),
    ):
        t = first_tile + wp.tid()
        draw_back(
            t, slice, width, height, across, channels, begin, owners, pairs, records, background, alpha, depth, light, last,
            features_grad, alpha_grad, depth_grad, scratch, gradients_out,
        )  # fmt: skip

    return {"forward": forward, "backward": backward}
