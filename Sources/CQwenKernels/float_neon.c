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

// What a lane of weights is: a number, or two of bfloat16, which meet two of activations. Known when compiled.
typedef enum { SINGLES, HALVES, BFLOATS, PAIRS } kind;

typedef struct {
  const uint8_t *weights;
  size_t row_bytes, row_used; // from one row to the next, and those of its columns
  const uint8_t *x;
  size_t x_bytes;
  float *y;
  size_t y_stride;
} operands;

typedef struct {
  float32x4_t low, high;
} eight;

// Bytes of a lane of weights; of activations it has 4.
QK_INLINE size_t lane_bytes(kind kind) { return kind == SINGLES || kind == PAIRS ? 4 : 2; }

QK_INLINE eight load(kind kind, const uint8_t *source) {
  if (lane_bytes(kind) == 4) {
    return (eight){vreinterpretq_f32_u8(vld1q_u8(source)), vreinterpretq_f32_u8(vld1q_u8(source + 16))};
  }
  const uint16x8_t bits = vreinterpretq_u16_u8(vld1q_u8(source));
  if (kind == HALVES) {
    const float16x8_t halves = vreinterpretq_f16_u16(bits);
    return (eight){vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
  }
  return (eight){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16)),
                 vreinterpretq_f32_u32(vshll_high_n_u16(bits, 16))};
}

// The last lanes of a row, so many bytes, then zeros.
QK_INLINE eight load_part(kind kind, const uint8_t *source, size_t bytes) {
  uint8_t padded[32] = {0};
  memcpy(padded, source, bytes);
  return load(kind, padded);
}

// As qk_sum_lanes.
QK_INLINE float sum_of(eight lanes) {
  const float32x4_t four = vaddq_f32(lanes.low, lanes.high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

QK_INLINE float32x4_t upper(float32x4_t pairs) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pairs), vdupq_n_u32(0xffff0000)));
}

QK_INLINE float32x4_t lower(float32x4_t pairs) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(pairs), 16));
}

QK_INLINE void add(kind kind, eight *sum, eight w, eight x) {
  if (kind == PAIRS) {
    sum->low = vfmaq_f32(sum->low, upper(w.low), upper(x.low));
    sum->high = vfmaq_f32(sum->high, upper(w.high), upper(x.high));
    sum->low = vfmaq_f32(sum->low, lower(w.low), lower(x.low));
    sum->high = vfmaq_f32(sum->high, lower(w.high), lower(x.high));
    return;
  }
  sum->low = vfmaq_f32(sum->low, w.low, x.low);
  sum->high = vfmaq_f32(sum->high, w.high, x.high);
}

typedef eight tile_sums[ROWS][TOKENS];

// 8 lanes of a tile, from lane k on.
QK_INLINE void step(kind kind, const int rows, const int tokens, const operands *o, size_t k, tile_sums sums) {
  eight w[ROWS];
  QK_UNROLL for (int r = 0; r < rows; r++) {
    w[r] = load(kind, o->weights + (size_t)r * o->row_bytes + k * lane_bytes(kind));
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    const eight a = load(SINGLES, o->x + (size_t)t * o->x_bytes + 4 * k);
    QK_UNROLL for (int r = 0; r < rows; r++) { add(kind, &sums[r][t], w[r], a); }
  }
}

QK_INLINE void tile(kind kind, const int rows, const int tokens, operands o) {
  tile_sums sums;
  QK_UNROLL for (int r = 0; r < rows; r++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { sums[r][t] = (eight){vdupq_n_f32(0), vdupq_n_f32(0)}; }
  }
  const size_t lanes = o.row_used / lane_bytes(kind) / 8 * 8;
  size_t k = 0;
  // Two steps a turn: places of rows and tokens are worked out half as often.
  for (; k + 16 <= lanes; k += 16) {
    step(kind, rows, tokens, &o, k, sums);
    step(kind, rows, tokens, &o, k + 8, sums);
  }
  if (k < lanes) {
    step(kind, rows, tokens, &o, k, sums);
    k += 8;
  }
  const size_t rest = o.row_used - k * lane_bytes(kind);
  if (rest > 0) {
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const eight a = load_part(SINGLES, o.x + (size_t)t * o.x_bytes + 4 * k, rest * 4 / lane_bytes(kind));
      QK_UNROLL for (int r = 0; r < rows; r++) {
        const uint8_t *source = o.weights + (size_t)r * o.row_bytes + k * lane_bytes(kind);
        add(kind, &sums[r][t], load_part(kind, source, rest), a);
      }
    }
  }
  QK_UNROLL for (int r = 0; r < rows; r++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { o.y[(size_t)t * o.y_stride + (size_t)r] = sum_of(sums[r][t]); }
  }
}

// All rows of a few tokens.
QK_INLINE void column(kind kind, const int tokens, size_t rows, operands o) {
  const int width = tokens <= 2 ? ROWS : tokens == 3 ? 3 : 2;
  for (; rows >= (size_t)width; rows -= (size_t)width) {
    tile(kind, width, tokens, o);
    o.weights += (size_t)width * o.row_bytes;
    o.y += width;
  }
  for (; rows > 0; rows--) {
    tile(kind, 1, tokens, o);
    o.weights += o.row_bytes;
    o.y++;
  }
}

QK_INLINE void matmul(kind kind, size_t rows, size_t tokens, operands o) {
  const size_t resident = o.row_bytes > 0 && o.row_bytes < RESIDENT_BYTES / 12 ? RESIDENT_BYTES / o.row_bytes / 12 * 12 : 12;
  for (size_t r = 0; r < rows; r += resident) {
    const size_t some = rows - r < resident ? rows - r : resident;
    operands p = o;
    p.weights += r * o.row_bytes;
    p.y += r;
    for (size_t left = tokens; left > 0;) {
      const size_t now = left < TOKENS ? left : TOKENS;
      switch (now) {
      case 1: column(kind, 1, some, p); break;
      case 2: column(kind, 2, some, p); break;
      case 3: column(kind, 3, some, p); break;
      case 4: column(kind, 4, some, p); break;
      default: column(kind, TOKENS, some, p);
      }
      p.x += now * o.x_bytes;
      p.y += now * o.y_stride;
      left -= now;
    }
  }
}

#define QK_MATMUL(name, kind)                                                                        \
  void name(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,      \
            size_t x_stride, size_t tokens, float *y, size_t y_stride) {                             \
    matmul(kind, rows, tokens,                                                                       \
           (operands){weights, row_bytes, columns * lane_bytes(kind), (const uint8_t *)x, 4 * x_stride, y, \
                      y_stride});                                                                    \
  }

QK_MATMUL(qk_f32_matmul_neon, SINGLES)
QK_MATMUL(qk_f16_matmul_neon, HALVES)
QK_MATMUL(qk_bf16_matmul_neon, BFLOATS)

// Subnormal numbers count as zero, as in the reference, but for one thing: aarch64 makes zero of a result before it is
// rounded, x86-64 after that, so a sum within 2^-151 below the smallest normal number is zero here and that number there.
void qk_bf16_matmul_bf16_neon(const void *weights, size_t row_bytes, size_t rows, size_t columns, const uint16_t *x,
                              size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const uint64_t flush = 1 << 24;
  uint64_t state;
  __asm__ volatile("mrs %0, fpcr" : "=r"(state)::"memory");
  __asm__ volatile("msr fpcr, %0" ::"r"(state | flush) : "memory");
  matmul(PAIRS, rows, tokens,
         (operands){weights, row_bytes, 2 * columns, (const uint8_t *)x, 2 * x_stride, y, y_stride});
  __asm__ volatile("msr fpcr, %0" ::"r"(state) : "memory");
}

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
