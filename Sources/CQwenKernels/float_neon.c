// Products of float formats with NEON: register tiles of rows x tokens, two vectors for the 8 lanes of each sum.
#include "lanes.h"
#include "twins.h"

#if QK_ARM

enum {
  ROWS = 4, // of a tile of one or two tokens; with more it has fewer, since sums, two vectors each, are at most 20 of
  TOKENS = 5, // 32 registers; weights are converted once for all tokens of a tile
  // Bytes of weights that stay in the second-level cache while all tokens pass.
  RESIDENT_BYTES = 128 << 10,
};

typedef struct {
  const uint8_t *weights;
  size_t row_bytes, columns;
  const float *x;
  size_t x_stride;
  float *y;
  size_t y_stride;
} operands;

typedef struct {
  float32x4_t low, high;
} eight;

QK_INLINE eight load(size_t element, int is_half, const uint8_t *source) {
  if (element == 4) {
    return (eight){vreinterpretq_f32_u8(vld1q_u8(source)), vreinterpretq_f32_u8(vld1q_u8(source + 16))};
  }
  const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(source));
  if (is_half) {
    const float16x8_t halves = vreinterpretq_f16_u16(bits);
    return (eight){vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
  }
  return (eight){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
                 vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))};
}

// The first count (under 8) elements, then zeros.
QK_INLINE eight load_part(size_t element, int is_half, const uint8_t *source, size_t count) {
  uint8_t padded[32] = {0};
  memcpy(padded, source, count * element);
  return load(element, is_half, padded);
}

// As qk_sum_lanes.
QK_INLINE float sum_of(eight lanes) {
  const float32x4_t four = vaddq_f32(lanes.low, lanes.high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

QK_INLINE void add(eight *sum, eight w, eight x) {
  sum->low = vfmaq_f32(sum->low, w.low, x.low);
  sum->high = vfmaq_f32(sum->high, w.high, x.high);
}

typedef eight tile_sums[ROWS][TOKENS];

// Columns k ... k + 7 of a tile.
QK_INLINE void step(size_t element, int is_half, const int rows, const int tokens, const operands *o, size_t k,
                    tile_sums sums) {
  eight w[ROWS];
  QK_UNROLL for (int r = 0; r < rows; r++) {
    w[r] = load(element, is_half, o->weights + (size_t)r * o->row_bytes + k * element);
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    const eight a = load(4, 0, (const uint8_t *)(o->x + (size_t)t * o->x_stride + k));
    QK_UNROLL for (int r = 0; r < rows; r++) { add(&sums[r][t], w[r], a); }
  }
}

QK_INLINE void tile(size_t element, int is_half, const int rows, const int tokens, operands o) {
  tile_sums sums;
  QK_UNROLL for (int r = 0; r < rows; r++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { sums[r][t] = (eight){vdupq_n_f32(0), vdupq_n_f32(0)}; }
  }
  size_t k = 0;
  // Two steps a turn: places of rows and tokens are worked out half as often.
  for (; k + 16 <= o.columns; k += 16) {
    step(element, is_half, rows, tokens, &o, k, sums);
    step(element, is_half, rows, tokens, &o, k + 8, sums);
  }
  if (k + 8 <= o.columns) {
    step(element, is_half, rows, tokens, &o, k, sums);
    k += 8;
  }
  if (k < o.columns) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const eight a = load_part(4, 0, (const uint8_t *)(o.x + (size_t)t * o.x_stride + k), o.columns - k);
      QK_UNROLL for (int r = 0; r < rows; r++) {
        const uint8_t *source = o.weights + (size_t)r * o.row_bytes + k * element;
        add(&sums[r][t], load_part(element, is_half, source, o.columns - k), a);
      }
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { o.y[(size_t)t * o.y_stride + (size_t)r] = sum_of(sums[r][t]); }
  }
}

// All rows of a few tokens.
QK_INLINE void column(size_t element, int is_half, const int tokens, size_t rows, operands o) {
  const int width = tokens <= 2 ? ROWS : tokens == 3 ? 3 : 2;
  for (; rows >= (size_t)width; rows -= (size_t)width) {
    tile(element, is_half, width, tokens, o);
    o.weights += (size_t)width * o.row_bytes;
    o.y += width;
  }
  for (; rows > 0; rows--) {
    tile(element, is_half, 1, tokens, o);
    o.weights += o.row_bytes;
    o.y++;
  }
}

QK_INLINE void matmul(size_t element, int is_half, size_t rows, size_t tokens, operands o) {
  const size_t resident = o.row_bytes > 0 && o.row_bytes < RESIDENT_BYTES / 12 ? RESIDENT_BYTES / o.row_bytes / 12 * 12 : 12;
  for (size_t r = 0; r < rows; r += resident) {
    const size_t some = rows - r < resident ? rows - r : resident;
    operands p = o;
    p.weights += r * o.row_bytes;
    p.y += r;
    for (size_t left = tokens; left > 0;) {
      const size_t now = left < TOKENS ? left : TOKENS;
      switch (now) {
      case 1: column(element, is_half, 1, some, p); break;
      case 2: column(element, is_half, 2, some, p); break;
      case 3: column(element, is_half, 3, some, p); break;
      case 4: column(element, is_half, 4, some, p); break;
      default: column(element, is_half, TOKENS, some, p);
      }
      p.x += now * o.x_stride;
      p.y += now * o.y_stride;
      left -= now;
    }
  }
}

#define QK_MATMUL(name, element, is_half)                                                           \
  void name(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,     \
            size_t x_stride, size_t tokens, float *y, size_t y_stride) {                            \
    matmul(element, is_half, rows, tokens,                                                          \
           (operands){weights, row_bytes, columns, x, x_stride, y, y_stride});                      \
  }

QK_MATMUL(qk_f32_matmul_neon, 4, 0)
QK_MATMUL(qk_f16_matmul_neon, 2, 1)
QK_MATMUL(qk_bf16_matmul_neon, 2, 0)

void qk_f16_encode_neon(const float *values, void *target, size_t count) {
  uint8_t *out = target;
  size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    const float16x4_t low = vcvt_f16_f32(vld1q_f32(values + k));
    const float16x8_t halves = vcvt_high_f16_f32(low, vld1q_f32(values + k + 4));
    vst1q_u8(out + 2 * k, vreinterpretq_u8_f16(halves));
  }
  for (; k < count; k++) {
    const uint16_t half = qk_float_to_half(values[k]);
    memcpy(out + 2 * k, &half, sizeof half);
  }
}

#endif
