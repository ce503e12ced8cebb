// Attention over one page with NEON: up to 7 queries share each load of keys and of values. Sums have the shapes of
// attention.c.
//
// Keys come 8 positions at a time, values 8 elements: nothing is summed over lanes but weights. One query keeps 4 times 8
// sums, so that none waits for itself, up to 5 keep 2 times 8, more keep 8: with what they share 25 of 32 registers.
#include "exp_neon.h"
#include "kv.h"
#include "twins.h"

#if QK_ARM

enum { QUERIES = 7, SUMS = 10 }; // of a tile; sums are 8 floats

typedef struct {
  float32x4_t low, high;
} eight;

typedef struct {
  const float *q;
  size_t q_stride;
  const uint8_t *keys, *values;
  size_t dim;
  const int32_t *first, *visible;
  float *maximum, *sum, *out;
  size_t out_stride;
  // Of codes of 8 bits, for each position; else null.
  const float *key_scales, *value_scales;
} page;

// Scores, then weights, of the queries of a tile.
typedef float tile_weights[QUERIES][QK_PAGE_POSITIONS];

// ---- Keys and values --------

QK_INLINE eight load_floats(const void *source) {
  const uint8_t *bytes = source;
  return (eight){vreinterpretq_f32_u8(vld1q_u8(bytes)), vreinterpretq_f32_u8(vld1q_u8(bytes + 16))};
}

QK_INLINE eight load_halves(const void *source) {
  const float16x8_t halves = vreinterpretq_f16_u8(vld1q_u8(source));
  return (eight){vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}

QK_INLINE eight load_bytes(const uint8_t *source) {
  const int16x8_t q = vmovl_s8(vreinterpret_s8_u8(vld1_u8(source)));
  return (eight){vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))), vcvtq_f32_s32(vmovl_high_s16(q))};
}

// The upper or the lower 4 bits of 8 bytes.
QK_INLINE eight load_fours(const uint8_t *source, unsigned shift) {
  const uint8x8_t four = vld1_u8(source) >> (uint8_t)shift & 15;
  const uint16x8_t q = vmovl_u8(four);
  return (eight){vcvtq_f32_u32(vmovl_u16(vget_low_u16(q))), vcvtq_f32_u32(vmovl_high_u16(q))};
}

// 8 elements of the values of a position from k on, a multiple of 8; of 8 bits the codes.
QK_INLINE eight value_at(qk_kv element, const uint8_t *run, size_t dim, size_t position, size_t k) {
  const uint8_t *row = qk_kv_row_at(element, run, dim, position);
  switch (element) {
  case QK_KV_F32: return load_floats(row + 4 * k);
  case QK_KV_F16: return load_halves(row + 2 * k);
  case QK_KV_Q8: return load_bytes(row + k);
  default: {
    const eight q = load_fours(row + k / 16 * 8, qk_kv4_shift(k));
    const uint8_t *scales = qk_kv4_scales(run, dim, position) + k / 32 * 4;
    const float32x4_t d = vdupq_n_f32(qk_load_f16(scales, 0)), m = vdupq_n_f32(qk_load_f16(scales, 1));
    return (eight){vfmaq_f32(m, d, q.low), vfmaq_f32(m, d, q.high)};
  }
  }
}

// What stands before the codes of keys of 4 bits, for 8 positions: d and m of 32 elements.
typedef struct {
  eight d, m;
} key_scales;

QK_INLINE key_scales scales_at(qk_kv element, const uint8_t *run, size_t position, size_t k) {
  key_scales s = {0};
  if (element == QK_KV_Q4) {
    const uint8_t *source = run + 4 * QK_PAGE_POSITIONS * (k / 32) + 2 * position;
    s.d = load_halves(source), s.m = load_halves(source + 2 * QK_PAGE_POSITIONS);
  }
  return s;
}

// Element k of the keys of 8 positions from `position` on, a multiple of 8; of 8 bits the codes.
QK_INLINE eight key_at(qk_kv element, const uint8_t *run, size_t dim, size_t position, size_t k, key_scales s) {
  const uint8_t *units = run + qk_kv_scale_bytes(element, dim);
  switch (element) {
  case QK_KV_F32: return load_floats(units + 4 * qk_key_place(dim, position, k));
  case QK_KV_F16: return load_halves(units + 2 * qk_key_place(dim, position, k));
  case QK_KV_Q8: return load_bytes(units + qk_key_place(dim, position, k));
  default: {
    const eight q =
        load_fours(units + qk_key_place(qk_kv4_row(dim), position, qk_kv4_unit(k)), qk_kv4_shift(k));
    return (eight){vfmaq_f32(s.m.low, s.d.low, q.low), vfmaq_f32(s.m.high, s.d.high, q.high)};
  }
  }
}

// ---- A tile of queries --------

QK_INLINE void add(eight *sum, eight shared, float factor) {
  sum->low = vfmaq_n_f32(sum->low, shared.low, factor);
  sum->high = vfmaq_n_f32(sum->high, shared.high, factor);
}

// Scores of the positions from ... to and of those that share a load with them.
QK_INLINE void score(qk_kv element, const int queries, const int width, const page *a, size_t from, size_t to,
                     tile_weights weights) {
  const size_t step = 8 * (size_t)width;
  for (size_t p = from / step * step; p < to; p += step) {
    eight sums[SUMS];
    QK_UNROLL for (int i = 0; i < queries * width; i++) sums[i].low = sums[i].high = vdupq_n_f32(0);
    for (size_t start = 0; start < a->dim; start += 32) {
      const size_t end = start + 32 < a->dim ? start + 32 : a->dim;
      key_scales scales[4];
      QK_UNROLL for (int j = 0; j < width; j++) {
        scales[j] = scales_at(element, a->keys, p + 8 * (size_t)j, start);
      }
      for (size_t k = start; k < end; k++) {
        QK_UNROLL for (int j = 0; j < width; j++) {
          const eight key = key_at(element, a->keys, a->dim, p + 8 * (size_t)j, k, scales[j]);
          QK_UNROLL for (int i = 0; i < queries; i++) {
            add(&sums[i * width + j], key, a->q[(size_t)i * a->q_stride + k]);
          }
        }
      }
    }
    QK_UNROLL for (int i = 0; i < queries * width; i++) {
      const size_t place = p + 8 * (size_t)(i % width);
      float *target = weights[i / width] + place;
      if (a->key_scales) {
        const eight scales = load_floats(a->key_scales + place);
        sums[i].low = vmulq_f32(sums[i].low, scales.low);
        sums[i].high = vmulq_f32(sums[i].high, scales.high);
      }
      vst1q_f32(target, sums[i].low), vst1q_f32(target + 4, sums[i].high);
    }
  }
}

// Turns the scores of one query into weights and updates its maximum and sum; gives the correction.
static float soften(float *weights, const float *scales, size_t from, size_t to, float *maximum, float *sum) {
  // Whole blocks from here on: what is hidden weighs exp(-infinity) = 0.
  const size_t start = from / 16 * 16;
  const size_t end = (to + 15) / 16 * 16;
  for (size_t p = start; p < from; p++) weights[p] = -INFINITY;
  for (size_t p = to; p < end; p++) weights[p] = -INFINITY;
  float32x4_t most = vdupq_n_f32(*maximum);
  for (size_t p = start; p < end; p += 4) {
    // A NaN is greater than nothing.
    const float32x4_t v = vld1q_f32(weights + p);
    most = vbslq_f32(vcgtq_f32(v, most), v, most);
  }
  const float now = vmaxvq_f32(most);
  const float base = now == -INFINITY ? 0 : now;
  const float correction = *maximum == base ? 1 : qk_exp_scalar(*maximum - base);
  float32x4_t sums[4];
  QK_UNROLL for (int i = 0; i < 4; i++) sums[i] = vdupq_n_f32(0);
  for (size_t p = start; p < end; p += 16) {
    QK_UNROLL for (int i = 0; i < 4; i++) {
      float *four = weights + p + 4 * i;
      const float32x4_t w = qk_exp4(vsubq_f32(vld1q_f32(four), vdupq_n_f32(base)));
      vst1q_f32(four, scales ? vmulq_f32(w, vld1q_f32(scales + p + 4 * (size_t)i)) : w);
      sums[i] = vaddq_f32(sums[i], w);
    }
  }
  const float32x4_t four = vaddq_f32(vaddq_f32(sums[0], sums[2]), vaddq_f32(sums[1], sums[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  *maximum = now;
  *sum = fmaf(*sum, correction, vget_lane_f32(two, 0) + vget_lane_f32(two, 1));
  return correction;
}

// Where each query sees alone before and behind the positions that all of the tile see.
typedef struct {
  size_t alone_to[QUERIES], from, to, alone_from[QUERIES];
} ranges;

QK_INLINE ranges common_range(const int queries, const page *a) {
  ranges r = {.from = 0, .to = QK_PAGE_POSITIONS};
  for (int i = 0; i < queries; i++) {
    r.from = (size_t)a->first[i] > r.from ? (size_t)a->first[i] : r.from;
    r.to = (size_t)a->visible[i] < r.to ? (size_t)a->visible[i] : r.to;
  }
  const int is_empty = r.from >= r.to;
  for (int i = 0; i < queries; i++) {
    r.alone_to[i] = is_empty ? (size_t)a->visible[i] : r.from;
    r.alone_from[i] = is_empty ? (size_t)a->visible[i] : r.to;
  }
  r.to = is_empty ? r.from : r.to;
  return r;
}

// Adds the weighted values of the positions from ... to for one query.
QK_INLINE void add_alone(qk_kv element, const int width, const page *a, const float *weights, size_t from,
                         size_t to, size_t k, eight *sums) {
  for (size_t p = from; p < to; p++) {
    QK_UNROLL for (int j = 0; j < width; j++) {
      add(sums + j, value_at(element, a->values, a->dim, p, k + 8 * (size_t)j), weights[p]);
    }
  }
}

// Adds weighted values to width x 8 elements of the outputs, from element k on.
QK_INLINE void weigh(qk_kv element, const int queries, const int width, const page *a, const ranges *r,
                     tile_weights weights, const float *corrections, size_t k) {
  eight sums[SUMS];
  QK_UNROLL for (int i = 0; i < queries; i++) {
    const float *out = a->out + (size_t)i * a->out_stride + k;
    QK_UNROLL for (int j = 0; j < width; j++) {
      sums[i * width + j].low = vmulq_n_f32(vld1q_f32(out + 8 * j), corrections[i]);
      sums[i * width + j].high = vmulq_n_f32(vld1q_f32(out + 8 * j + 4), corrections[i]);
    }
    add_alone(element, width, a, weights[i], (size_t)a->first[i], r->alone_to[i], k, sums + i * width);
  }
  for (size_t p = r->from; p < r->to; p++) {
    QK_UNROLL for (int j = 0; j < width; j++) {
      const eight value = value_at(element, a->values, a->dim, p, k + 8 * (size_t)j);
      QK_UNROLL for (int i = 0; i < queries; i++) add(&sums[i * width + j], value, weights[i][p]);
    }
  }
  QK_UNROLL for (int i = 0; i < queries; i++) {
    add_alone(element, width, a, weights[i], r->alone_from[i], (size_t)a->visible[i], k, sums + i * width);
    float *out = a->out + (size_t)i * a->out_stride + k;
    QK_UNROLL for (int j = 0; j < width; j++) {
      vst1q_f32(out + 8 * j, sums[i * width + j].low), vst1q_f32(out + 8 * j + 4, sums[i * width + j].high);
    }
  }
}

// One element of each output. Rare, so kept out of line.
static __attribute__((noinline)) void weigh_one(qk_kv element, size_t queries, const page *a,
                                                tile_weights weights, const float *corrections, size_t k) {
  for (size_t i = 0; i < queries; i++) {
    float *out = a->out + i * a->out_stride + k;
    float sum = *out * corrections[i];
    for (size_t p = (size_t)a->first[i]; p < (size_t)a->visible[i]; p++) {
      sum = fmaf(weights[i][p], qk_value_code(element, a->values, a->dim, p, k), sum);
    }
    *out = sum;
  }
}

// Queries of which each sees something.
QK_INLINE void tile(qk_kv element, const int queries, const page *a) {
  const int width = queries == 1 ? 4 : queries <= 5 ? 2 : 1;
  tile_weights weights;
  float corrections[QUERIES];
  size_t from = QK_PAGE_POSITIONS;
  size_t to = 0;
  for (int i = 0; i < queries; i++) {
    from = (size_t)a->first[i] < from ? (size_t)a->first[i] : from;
    to = (size_t)a->visible[i] > to ? (size_t)a->visible[i] : to;
  }
  score(element, queries, width, a, from, to, weights);
  for (int i = 0; i < queries; i++) {
    corrections[i] = soften(weights[i], a->value_scales, (size_t)a->first[i], (size_t)a->visible[i],
                            a->maximum + i, a->sum + i);
  }
  const ranges r = common_range(queries, a);
  size_t k = 0;
  for (; k + 8 * (size_t)width <= a->dim; k += 8 * (size_t)width) {
    weigh(element, queries, width, a, &r, weights, corrections, k);
  }
  for (; k + 8 <= a->dim; k += 8) {
    weigh(element, queries, 1, a, &r, weights, corrections, k);
  }
  for (; k < a->dim; k++) weigh_one(element, (size_t)queries, a, weights, corrections, k);
}

QK_INLINE void attend(qk_kv element, size_t queries, page a) {
  while (queries > 0) {
    size_t seeing = 0;
    while (seeing < queries && seeing < QUERIES && a.first[seeing] < a.visible[seeing]) {
      seeing++;
    }
    size_t done = seeing > 3 && seeing < QUERIES ? 4 : seeing;
    switch (done) {
    case 0: done = 1; break;
    case 1: tile(element, 1, &a); break;
    case 2: tile(element, 2, &a); break;
    case 3: tile(element, 3, &a); break;
    case 4: tile(element, 4, &a); break;
    default: tile(element, QUERIES, &a);
    }
    queries -= done;
    a.q += done * a.q_stride;
    a.out += done * a.out_stride;
    a.first += done;
    a.visible += done;
    a.maximum += done;
    a.sum += done;
  }
}

// Many queries share what is decoded once; it lies where scratch of the stack is no burden.
enum { DECODED_DIM = 128, DECODED_QUERIES = 16 };

QK_INLINE void store(float *target, eight v) { vst1q_f32(target, v.low), vst1q_f32(target + 4, v.high); }

QK_INLINE void decode_page(qk_kv element, const page *a, size_t from, size_t to, float *keys, float *values) {
  for (size_t p = from / QK_KEY_BLOCK * QK_KEY_BLOCK; p < to; p += 8) {
    for (size_t start = 0; start < a->dim; start += 32) {
      const key_scales scales = scales_at(element, a->keys, p, start);
      for (size_t k = start; k < start + 32 && k < a->dim; k++) {
        store(keys + qk_key_place(a->dim, p, k), key_at(element, a->keys, a->dim, p, k, scales));
      }
    }
  }
  for (size_t p = from; p < to; p++) {
    size_t k = 0;
    for (; k + 8 <= a->dim; k += 8) store(values + p * a->dim + k, value_at(element, a->values, a->dim, p, k));
    for (; k < a->dim; k++) values[p * a->dim + k] = qk_value_code(element, a->values, a->dim, p, k);
  }
}

static __attribute__((noinline)) void attend_floats(size_t queries, page a) { attend(QK_KV_F32, queries, a); }

QK_INLINE void attend_decoded(qk_kv element, size_t queries, page a) {
  float keys[QK_PAGE_POSITIONS * DECODED_DIM];
  float values[QK_PAGE_POSITIONS * DECODED_DIM];
  size_t from = QK_PAGE_POSITIONS;
  size_t to = 0;
  for (size_t i = 0; i < queries; i++) {
    from = (size_t)a.first[i] < from ? (size_t)a.first[i] : from;
    to = (size_t)a.visible[i] > to ? (size_t)a.visible[i] : to;
  }
  if (from >= to) return;
  decode_page(element, &a, from, to, keys, values);
  a.keys = (const uint8_t *)keys, a.values = (const uint8_t *)values;
  attend_floats(queries, a);
}

#define QK_PAGE(format, element)                                                                     \
  void qk_attention_page_##format##_neon(                                                            \
      const float *q, size_t q_stride, size_t queries, const void *keys, const void *values,         \
      const void *ahead, size_t dim, const int32_t *first, const int32_t *visible, float *maximum,   \
      float *sum, float *out, size_t out_stride) {                                                   \
    (void)ahead;                                                                                     \
    page a = {q,       q_stride, keys, values,     dim, first, visible,                              \
              maximum, sum,      out,  out_stride, 0,   0};                                          \
    if (element == QK_KV_Q8) a.key_scales = keys, a.value_scales = values;                           \
    if (element >= QK_KV_Q8 && queries >= DECODED_QUERIES && dim <= DECODED_DIM) {                   \
      attend_decoded(element, queries, a);                                                           \
    } else {                                                                                         \
      attend(element, queries, a);                                                                   \
    }                                                                                                \
  }

QK_PAGE(f32, QK_KV_F32)
QK_PAGE(f16, QK_KV_F16)
QK_PAGE(q8, QK_KV_Q8)
QK_PAGE(q4, QK_KV_Q4)

#endif
