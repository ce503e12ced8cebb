// Pieces of the AVX2 and AVX-512 twins: loads of 8 elements of a float format, sums over lanes.
#ifndef QK_SIMD_H
#define QK_SIMD_H

#include "lanes.h"

#if QK_X86

// How floats lie in memory. Known when compiled wherever it is a parameter. QK_BF16_PAIRS: bfloat16 that meets
// activations in bfloat16, both taken as pairs of 4 bytes; QK_BF16_DOT: the same by the instruction for it.
typedef enum { QK_F32, QK_F16, QK_BF16, QK_BF16_PAIRS, QK_BF16_DOT } qk_element;

QK_INLINE int qk_is_paired(qk_element element) { return element >= QK_BF16_PAIRS; }

QK_INLINE size_t qk_element_bytes(qk_element element) { return element == QK_F32 ? 4 : 2; }

// Bytes of weights that a lane takes at once.
QK_INLINE size_t qk_lane_bytes(qk_element element) { return element == QK_F32 || qk_is_paired(element) ? 4 : 2; }

// Multiplications that it takes for them.
QK_INLINE int qk_halves(qk_element element) { return element == QK_BF16_PAIRS ? 2 : 1; }

// What a product of floats works on; activations are floats or, with pairs, bfloat16.
typedef struct {
  const uint8_t *weights;
  size_t row_bytes, columns;
  const uint8_t *x;
  size_t x_bytes; // from one token to the next
  float *y;
  size_t y_stride;
} qk_float_operands;

QK_INLINE QK_AVX2 __m256 qk_load8(qk_element element, const uint8_t *source) {
  if (element == QK_F32 || qk_is_paired(element)) {
    return _mm256_loadu_ps((const float *)source);
  }
  const __m128i bits = _mm_loadu_si128((const __m128i *)source);
  if (element == QK_F16) {
    return _mm256_cvtph_ps(bits);
  }
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

// The first count (under 8) elements, then zeros; reads nothing behind them. Rare, so kept out of
// line.
static __attribute__((noinline, unused)) QK_AVX2 __m256
qk_load_part(qk_element element, const uint8_t *source, size_t count) {
  uint8_t padded[32] = {0};
  memcpy(padded, source, count * qk_element_bytes(element));
  return qk_load8(element, padded);
}

// From here to qk_restore_subnormals subnormal operands count as zero, and results become it. Returns what that takes.
QK_INLINE uint32_t qk_flush_subnormals(void) {
  enum { FLUSH_RESULTS = 1 << 15, FLUSH_OPERANDS = 1 << 6 };
  const uint32_t state = _mm_getcsr();
  _mm_setcsr(state | FLUSH_RESULTS | FLUSH_OPERANDS);
  __asm__ volatile("" ::: "memory");
  return state;
}

QK_INLINE void qk_restore_subnormals(uint32_t state) {
  __asm__ volatile("" ::: "memory");
  _mm_setcsr(state);
}

// Rows of a tile lie one behind the other, so that a tile is one run of bytes. For one token,
// weights are fetched into the second-level cache this far ahead, a whole number of tiles: hardware
// prefetching stops at the end of a page and reads at half the speed.
QK_INLINE size_t qk_prefetch_distance(size_t tile_bytes) {
  const size_t least = 16 << 10;
  return tile_bytes == 0 ? 0 : (least + tile_bytes - 1) / tile_bytes * tile_bytes;
}

// Fetches the cache lines that begin within count bytes, up to one too many. Never faults.
QK_INLINE void qk_prefetch(const uint8_t *source, size_t count) {
  QK_UNROLL for (size_t i = 0; i < count; i += 64) {
    _mm_prefetch((const char *)source + i, _MM_HINT_T1);
  }
}

// The same into the first-level cache, for what is used within microseconds.
QK_INLINE void qk_prefetch_near(const uint8_t *source, size_t count) {
  QK_UNROLL for (size_t i = 0; i < count; i += 64) {
    _mm_prefetch((const char *)source + i, _MM_HINT_T0);
  }
}

// The same, each line once: those that begin at bytes from ... to - 1 behind `source`, which begins one.
QK_INLINE void qk_prefetch_lines(const uint8_t *source, size_t from, size_t to) {
  QK_UNROLL for (size_t i = (from + 63) / 64; i < (to + 63) / 64; i++) {
    _mm_prefetch((const char *)source + 64 * i, _MM_HINT_T0);
  }
}

// Into the second-level cache row by row, a line several times. Measured, not derived; probably what is asked for while
// all buffers are taken is dropped. BF16 reads 34 instead of 25 GB/s so, Q8_0 32 instead of 29, on a
// Zen 4 server; 4-bit formats, short of instructions, lose 5 %.
QK_INLINE void qk_prefetch_rows(const uint8_t *source, size_t row_bytes, int rows) {
  QK_UNROLL for (int r = 0; r < rows; r++) {
    _mm_prefetch((const char *)source + (size_t)r * row_bytes, _MM_HINT_T1);
  }
}

// As qk_sum_lanes.
QK_INLINE QK_AVX2 float qk_sum8(__m256 lanes) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

#endif
#endif
