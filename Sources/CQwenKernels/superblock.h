// Encoders of blocks of 256: parts with small whole scales under one or two half-precision factors.
//
// Parts are fitted one by one; their scales are rounded to whole multiples of the factors; then by turns each part takes
// the best of the whole scales next to its own, and the factors become those of least squares.
#ifndef QK_SUPERBLOCK_H
#define QK_SUPERBLOCK_H

#include "fit.h"

enum { QK_MOST_PARTS = 16, QK_ROUNDS = 3 };

typedef struct {
  qk_grid grid;
  int width;       // of a part
  float low, high; // of whole scales; of minima: 0 ... high
} qk_super_shape;

typedef struct {
  float d, m; // factors, exact in half precision; the value is d scale level - m minimum
  float scale[QK_MOST_PARTS], minimum[QK_MOST_PARTS];
} qk_super;

QK_INLINE float qk_whole_in(float value, float low, float high) {
  value = value < low ? low : value > high ? high : value;
  return (value + 0x1.8p23f) - 0x1.8p23f;
}

QK_INLINE qk_line qk_line_of(const qk_super *s, int part) {
  return (qk_line){s->d * s->scale[part], -(s->m * s->minimum[part])};
}

QK_INLINE float qk_super_error(qk_super_shape shape, const float *x, const float *w, const qk_super *s) {
  float error = 0;
  for (int p = 0; p < 256 / shape.width; p++) {
    const int at = p * shape.width;
    error += qk_error_of(shape.grid, x + at, w + at, shape.width, qk_line_of(s, p));
  }
  return error;
}

// The best whole scales next to those of a part.
QK_INLINE void qk_tune_parts(qk_super_shape shape, const float *x, const float *w, qk_super *s,
                             int has_minimum) {
  for (int p = 0; p < 256 / shape.width; p++) {
    const int at = p * shape.width;
    const float scale = s->scale[p], minimum = s->minimum[p];
    float least = qk_error_of(shape.grid, x + at, w + at, shape.width, qk_line_of(s, p));
    qk_super other = *s;
    for (int i = 0; i < (has_minimum ? 9 : 3); i++) {
      other.scale[p] = qk_whole_in(scale + (float)(i % 3 - 1), shape.low, shape.high);
      if (has_minimum) {
        other.minimum[p] = qk_whole_in(minimum + (float)(i / 3 - 1), 0, shape.high);
      }
      const float error = qk_error_of(shape.grid, x + at, w + at, shape.width, qk_line_of(&other, p));
      if (error < least) {
        least = error;
        s->scale[p] = other.scale[p];
        s->minimum[p] = other.minimum[p];
      }
    }
  }
}

// The factors of least squares for the levels that are nearest now.
QK_INLINE void qk_tune_factors(qk_super_shape shape, const float *x, const float *w, qk_super *s,
                               int has_minimum) {
  qk_lanes sum_aa = {0}, sum_ab = {0}, sum_bb = {0}, sum_ax = {0}, sum_bx = {0};
  for (int p = 0; p < 256 / shape.width; p++) {
    const qk_line line = qk_line_of(s, p);
    const float inverse = qk_inverse(line.d);
    for (int k = p * shape.width; k < (p + 1) * shape.width; k += 8) {
      const qk_lanes value = qk_load_lanes(x + k);
      const qk_lanes a = qk_nearest8(shape.grid, (value - line.m) * inverse) * s->scale[p];
      const qk_lanes weight = qk_load_lanes(w + k);
      const qk_lanes weighted = weight * s->minimum[p];
      sum_aa += weight * a * a;
      sum_ab += weighted * a;
      sum_bb += weighted * s->minimum[p];
      sum_ax += weight * a * value;
      sum_bx += weighted * value;
    }
  }
  const float aa = qk_add_lanes(sum_aa), ab = qk_add_lanes(sum_ab), bb = qk_add_lanes(sum_bb);
  const float ax = qk_add_lanes(sum_ax), bx = qk_add_lanes(sum_bx);
  if (!has_minimum || !(bb > 0)) {
    s->d = aa > 0 ? qk_as_half(ax / aa) : s->d;
    return;
  }
  const float determinant = aa * bb - ab * ab;
  if (determinant > 0) {
    s->d = qk_as_half((ax * bb - bx * ab) / determinant);
    s->m = qk_as_half((ax * ab - bx * aa) / determinant);
  }
}

// Factors, scales and codes of 256 values; NaN for d and zeros if one of them is no number.
QK_INLINE qk_super qk_fit_super(qk_super_shape shape, const float *x, const float *w, int has_minimum,
                                uint8_t codes[256]) {
  const int parts = 256 / shape.width;
  qk_super s = {0};
  if (!qk_is_finite(x, 256)) {
    s.d = NAN;
    memset(codes, 0, 256);
    return s;
  }
  float d[QK_MOST_PARTS], m[QK_MOST_PARTS];
  float most = 0;
  for (int p = 0; p < parts; p++) {
    const int at = p * shape.width;
    qk_line line = {0, 0};
    if (has_minimum) {
      line = qk_fit_line(shape.grid, x + at, w + at, shape.width, 1);
    } else {
      line.d = qk_fit_scale(shape.grid, x + at, w + at, shape.width);
    }
    d[p] = line.d;
    m[p] = -line.m;
    most = m[p] > most ? m[p] : most;
  }
  const float extreme = qk_extreme(d, parts);
  s.d = qk_as_half(extreme / (shape.low < 0 ? shape.low : shape.high));
  s.m = qk_as_half(most / shape.high);
  for (int p = 0; p < parts; p++) {
    s.scale[p] = qk_whole_in(d[p] * qk_inverse(s.d), shape.low, shape.high);
    s.minimum[p] = has_minimum ? qk_whole_in(m[p] * qk_inverse(s.m), 0, shape.high) : 0;
  }
  qk_super best = s;
  float least = qk_super_error(shape, x, w, &s);
  for (int round = 0; round < QK_ROUNDS; round++) {
    qk_tune_parts(shape, x, w, &s, has_minimum);
    float error = qk_super_error(shape, x, w, &s);
    if (error < least) {
      least = error;
      best = s;
    }
    qk_tune_factors(shape, x, w, &s, has_minimum);
    error = qk_super_error(shape, x, w, &s);
    if (!(error < least)) {
      break;
    }
    least = error;
    best = s;
  }
  for (int p = 0; p < parts; p++) {
    const int at = p * shape.width;
    qk_codes_of(shape.grid, x + at, shape.width, qk_line_of(&best, p), codes + at);
  }
  return best;
}

#endif
