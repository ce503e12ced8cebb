// Scales and codes of least weighted squared error, for encoders that take their time.
//
// For a scale, codes are the nearest; for codes, the scale is that of least squares. From several scales around the
// plain one the best pair is taken and improved by turns. Sums run in 8 lanes, so that every instruction set gives
// the same bits.
#ifndef QK_FIT_H
#define QK_FIT_H

#include "encode.h"

// What codes stand for before they are scaled: whole numbers from low to high, or the 16 values of a table.
typedef struct {
  float low, high;
  const float *table;
} qk_grid;

// Vectors are passed between inlined functions only: no calling convention is involved.
#pragma GCC diagnostic ignored "-Wpsabi"

// 8 lanes: two vectors of 4 or one of 8, as the instruction set has it.
typedef float qk_lanes __attribute__((vector_size(32)));
typedef int32_t qk_masks __attribute__((vector_size(32)));

QK_INLINE qk_lanes qk_load_lanes(const float *source) {
  qk_lanes lanes;
  memcpy(&lanes, source, sizeof lanes);
  return lanes;
}

QK_INLINE qk_lanes qk_select(qk_masks mask, qk_lanes yes, qk_lanes no) {
  return (qk_lanes)((mask & (qk_masks)yes) | (~mask & (qk_masks)no));
}

QK_INLINE float qk_add_lanes(qk_lanes lanes) {
  return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

QK_INLINE float qk_lowest(qk_grid grid) { return grid.table ? grid.table[0] : grid.low; }
QK_INLINE float qk_highest(qk_grid grid) { return grid.table ? grid.table[15] : grid.high; }

// The nearest values of a grid.
QK_INLINE qk_lanes qk_nearest8(qk_grid grid, qk_lanes value) {
  const qk_lanes zeros = {0};
  if (grid.table == 0) {
    // Adding 1.5 * 2^23 rounds to an integer, half to even; limits come first, so it fits.
    value = qk_select(value < grid.low, zeros + grid.low, value);
    value = qk_select(value > grid.high, zeros + grid.high, value);
    return (value + 0x1.8p23f) - 0x1.8p23f;
  }
  // The next for each middle that lies below.
  qk_lanes level = zeros + grid.table[0];
  for (int i = 0; i < 15; i++) {
    const float high = grid.table[i + 1];
    level = qk_select(value > zeros + (grid.table[i] + high) / 2, zeros + high, level);
  }
  return level;
}

// The value of the largest magnitude.
QK_INLINE float qk_extreme(const float *x, int count) {
  float extreme = 0;
  for (int k = 0; k < count; k++) {
    extreme = fabsf(x[k]) > fabsf(extreme) ? x[k] : extreme;
  }
  return extreme;
}

QK_INLINE int qk_is_finite(const float *x, int count) {
  uint32_t most = 0;
  for (int k = 0; k < count; k++) {
    const uint32_t magnitude = qk_bits_of(x[k]) & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  }
  return most < 0x7f800000;
}

// ---- x = d level --------

typedef struct {
  float cross, square; // sums of w x level and w level^2
} qk_moments;

// Levels nearest for an inverse scale, and their sums; count a multiple of 8.
QK_INLINE qk_moments qk_try_scale(qk_grid grid, const float *x, const float *w, int count,
                                  float inverse) {
  qk_lanes cross = {0}, square = {0};
  for (int k = 0; k < count; k += 8) {
    const qk_lanes value = qk_load_lanes(x + k);
    const qk_lanes level = qk_nearest8(grid, value * inverse);
    const qk_lanes weighted = qk_load_lanes(w + k) * level;
    cross += weighted * value;
    square += weighted * level;
  }
  return (qk_moments){qk_add_lanes(cross), qk_add_lanes(square)};
}

// The scale of least error; 0 for zeros. With `rising` it is not negative.
QK_INLINE float qk_fit_signed_scale(qk_grid grid, const float *x, const float *w, int count, int rising) {
  enum { STEPS = 15 };
  const float extreme = qk_extreme(x, count);
  if (fabsf(extreme) < 1e-30f) {
    return 0;
  }
  float best = 0;
  float scale = 0;
  for (int side = 0; side < 2; side++) {
    // The extreme value takes the lowest or the highest level, give or take a fifth.
    const float end = side == 0 ? qk_lowest(grid) : qk_highest(grid);
    if (rising && end * extreme < 0) {
      continue;
    }
    for (int i = 0; i < STEPS; i++) {
      const float inverse = end * (0.85f + 0.03f * (float)i) / extreme;
      const qk_moments sums = qk_try_scale(grid, x, w, count, inverse);
      if (sums.square > 0 && sums.cross * sums.cross > best * sums.square) {
        best = sums.cross * sums.cross / sums.square;
        scale = sums.cross / sums.square;
      }
    }
  }
  for (int i = 0; i < 3 && scale != 0; i++) {
    const qk_moments sums = qk_try_scale(grid, x, w, count, 1 / scale);
    if (!(sums.square > 0 && sums.cross * sums.cross > best * sums.square)) {
      break;
    }
    best = sums.cross * sums.cross / sums.square;
    scale = sums.cross / sums.square;
  }
  return scale;
}

QK_INLINE float qk_fit_scale(qk_grid grid, const float *x, const float *w, int count) {
  return qk_fit_signed_scale(grid, x, w, count, 0);
}

// ---- x = d level + m --------

typedef struct {
  float d, m;
} qk_line;

// The weighted squared error of the nearest levels.
QK_INLINE float qk_error_of(qk_grid grid, const float *x, const float *w, int count, qk_line line) {
  qk_lanes sum = {0};
  const float inverse = qk_inverse(line.d);
  for (int k = 0; k < count; k += 8) {
    const qk_lanes value = qk_load_lanes(x + k);
    const qk_lanes level = qk_nearest8(grid, (value - line.m) * inverse);
    const qk_lanes error = value - (line.d * level + line.m);
    sum += qk_load_lanes(w + k) * error * error;
  }
  return qk_add_lanes(sum);
}

typedef struct {
  qk_line line;
  float gain; // how much its error lies below that of zeros
} qk_fit;

// The line of least squares for the levels that are nearest on another; m is at most 0 if `below`.
QK_INLINE qk_fit qk_better_line(qk_grid grid, const float *x, const float *w, int count, qk_line line,
                                int below) {
  qk_lanes s = {0}, sl = {0}, sx = {0}, sxl = {0}, sll = {0};
  const float inverse = qk_inverse(line.d);
  for (int k = 0; k < count; k += 8) {
    const qk_lanes value = qk_load_lanes(x + k);
    const qk_lanes weight = qk_load_lanes(w + k);
    const qk_lanes level = qk_nearest8(grid, (value - line.m) * inverse);
    const qk_lanes weighted = weight * level;
    s += weight;
    sl += weighted;
    sx += weight * value;
    sxl += weighted * value;
    sll += weighted * level;
  }
  const float a = qk_add_lanes(s), b = qk_add_lanes(sl), c = qk_add_lanes(sll);
  const float y = qk_add_lanes(sx), z = qk_add_lanes(sxl);
  const float determinant = a * c - b * b;
  if (!(determinant > 0)) {
    return (qk_fit){line, -INFINITY};
  }
  qk_line better = {(a * z - b * y) / determinant, (c * y - b * z) / determinant};
  if (below && better.m > 0) {
    better = (qk_line){c > 0 ? z / c : 0, 0};
  }
  return (qk_fit){better, better.d * z + better.m * y};
}

// The line of least error over levels 0 ... high. Values that are all alike: d = 0, or with `below` what gives them.
QK_INLINE qk_line qk_fit_line(qk_grid grid, const float *x, const float *w, int count, int below) {
  enum { STEPS = 10, SHIFTS = 3 };
  float low = x[0], high = x[0];
  for (int k = 0; k < count; k++) {
    low = x[k] < low ? x[k] : low;
    high = x[k] > high ? x[k] : high;
  }
  low = below && low > 0 ? 0 : low;
  const float range = high - low;
  if (!(range > 1e-30f)) {
    return (qk_line){0, low};
  }
  qk_fit best = {{range / grid.high, low}, -INFINITY};
  for (int i = 0; i < STEPS * SHIFTS; i++) {
    // What is cut off the range is cut above, on both sides, or below.
    const float d = range * (0.76f + 0.03f * (float)(i / SHIFTS)) / grid.high;
    qk_line line = {d, low + (range - d * grid.high) * 0.5f * (float)(i % SHIFTS)};
    line.m = below && line.m > 0 ? 0 : line.m;
    const qk_fit fit = qk_better_line(grid, x, w, count, line, below);
    best = fit.gain > best.gain ? fit : best;
  }
  for (int i = 0; i < 4; i++) {
    const qk_fit fit = qk_better_line(grid, x, w, count, best.line, below);
    if (!(fit.gain > best.gain)) {
      break;
    }
    best = fit;
  }
  return best.line;
}

// ---- Whole blocks --------

// Codes of the nearest levels: places above the lowest, or in the table.
QK_INLINE void qk_codes_of(qk_grid grid, const float *x, int count, qk_line line, uint8_t *codes) {
  const float inverse = qk_inverse(line.d);
  for (int k = 0; k < count; k += 8) {
    const qk_lanes levels = qk_nearest8(grid, (qk_load_lanes(x + k) - line.m) * inverse);
    for (int l = 0; l < 8; l++) {
      uint8_t code = 0;
      if (grid.table == 0) {
        code = (uint8_t)(levels[l] - grid.low);
      } else {
        while (code < 15 && grid.table[code] < levels[l]) {
          code++;
        }
      }
      codes[k + l] = code;
    }
  }
}

// Whichever of two lines has the lesser error.
QK_INLINE qk_line qk_choose_line(qk_grid grid, const float *x, const float *w, int count, qk_line plain,
                                 qk_line other) {
  const int is_usable = fabsf(other.d) < INFINITY && fabsf(other.m) < INFINITY;
  return is_usable && qk_error_of(grid, x, w, count, other) < qk_error_of(grid, x, w, count, plain)
             ? other
             : plain;
}

// 32 codes of 4 bits: elements k and k + 16 in a byte.
QK_INLINE void qk_store_nibbles(uint8_t *target, const uint8_t codes[32]) {
  for (int k = 0; k < 16; k++) {
    target[k] = (uint8_t)(codes[k] | codes[k + 16] << 4);
  }
}

// The importance of count columns, or ones.
QK_INLINE void qk_weights_of(const float *importance, float *weights, int count) {
  for (int k = 0; k < count; k++) {
    weights[k] = importance ? importance[k] : 1;
  }
}

QK_INLINE float qk_as_half(float value) { return qk_half_to_float(qk_float_to_half(value)); }

// Blocks of 32 with one scale, and perhaps a minimum behind it, each a half; then what store writes.
typedef struct {
  size_t bytes;
  qk_grid grid;
  int has_minimum;
  void (*encode)(const float *values, void *target, size_t count);
  void (*store)(uint8_t *target, const uint8_t codes[32]);
} qk_blocks32;

// The plain encoder's line or a fitted one for each block, whichever errs less.
QK_INLINE void qk_encode_best32(qk_blocks32 form, const float *values, const float *importance, uint8_t *block,
                                size_t count) {
  for (size_t b = 0; b < count / 32; b++, block += form.bytes, values += 32) {
    // What is no number stays as the plain encoder leaves it.
    form.encode(values, block, 32);
    if (!qk_is_finite(values, 32)) {
      continue;
    }
    float w[32];
    qk_weights_of(importance ? importance + 32 * b : 0, w, 32);
    const qk_line plain = {qk_half_to_float(qk_load_u16(block)),
                           form.has_minimum ? qk_half_to_float(qk_load_u16(block + 2)) : 0};
    const qk_line fit = form.has_minimum ? qk_fit_line(form.grid, values, w, 32, 0)
                                         : (qk_line){qk_fit_scale(form.grid, values, w, 32), 0};
    const qk_line line = qk_choose_line(form.grid, values, w, 32, plain,
                                        (qk_line){qk_as_half(fit.d), qk_as_half(fit.m)});
    uint8_t codes[32];
    qk_codes_of(form.grid, values, 32, line, codes);
    qk_store_half(block, line.d);
    if (form.has_minimum) {
      qk_store_half(block + 2, line.m);
    }
    form.store(block + (form.has_minimum ? 4 : 2), codes);
  }
}

// A function encode_best of the format's file as qk_<name>_encode_best, compiled twice: fused operations are not
// formed, so the bits are the same.
#if QK_X86
#define QK_BEST_ENCODER(name)                                                                       \
  static QK_AVX2 void encode_best_avx2(const float *values, const float *importance, void *target,  \
                                       size_t count) {                                              \
    encode_best(values, importance, target, count);                                                 \
  }                                                                                                 \
  void qk_##name##_encode_best(const float *values, const float *importance, void *target,          \
                               size_t count) {                                                      \
    if (qk_isa() >= QK_ISA_AVX2) {                                                                  \
      encode_best_avx2(values, importance, target, count);                                          \
    } else {                                                                                        \
      encode_best(values, importance, target, count);                                               \
    }                                                                                               \
  }
#else
#define QK_BEST_ENCODER(name)                                                                       \
  void qk_##name##_encode_best(const float *values, const float *importance, void *target,          \
                               size_t count) {                                                      \
    encode_best(values, importance, target, count);                                                 \
  }
#endif

#endif
