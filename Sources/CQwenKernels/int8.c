// Rows of LLM.int8(): a float with the largest magnitude of the row, then signed bytes q. The value is
// q largest / 127, rounded as bitsandbytes does: first the product with q, then with 1/127.
#include "a8.h"
#include "encode.h"
#include "parts.h"

enum { HEAD = 4, BYTES = 32 };
static const qk_traits traits = {.bytes = BYTES, .parts = 1, .codes = QK_CODES_SIGNED, .head = HEAD};
static const float inverse_127 = 7.874015718698502e-3f;

static float largest_of(const uint8_t *row) {
  float largest;
  memcpy(&largest, row, sizeof largest);
  return largest;
}

void qk_int8_decode(const void *source, float *values, size_t count) {
  const float largest = largest_of(source);
  for (size_t k = 0; k < count; k++) {
    values[k] = (float)(int8_t)((const uint8_t *)source)[HEAD + k] * largest * inverse_127;
  }
}

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks, (void)part;
  return (qk_place){.low = HEAD + block * BYTES, .low_bits = 8};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks, (void)block, (void)part;
  out->d = largest_of(row) * inverse_127;
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks, (void)block;
  head->d = _mm256_mul_ps(qk_floats8(rows, 0), _mm256_set1_ps(inverse_127));
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  (void)part;
  out->d = head->d;
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks, (void)block;
  head->d = vmulq_n_f32(qk_floats4(rows, 0), inverse_127);
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  (void)part;
  out->d[0] = head->d;
}
#endif

QK_PARTS_MATMUL(int8)
QK_PARTS_INTERLEAVED(int8)

void qk_int8_encode(const float *values, void *target, size_t count) {
  uint8_t *row = target;
  // Weights pass through half precision.
  float largest = 0;
  for (size_t k = 0; k < count; k++) {
    const float magnitude = fabsf(qk_half_to_float(qk_float_to_half(values[k])));
    largest = magnitude > largest || isnan(magnitude) ? magnitude : largest;
    if (isnan(largest)) {
      break;
    }
  }
  memcpy(row, &largest, sizeof largest);
  const float factor = 127 / largest;
  for (size_t k = 0; k < count; k++) {
    const float value = qk_half_to_float(qk_float_to_half(values[k])) * factor;
    // Adding 1.5 * 2^23 rounds to an integer, half to even.
    const int is_code = fabsf(value) < 0x1p22f;
    row[HEAD + k] = is_code ? (uint8_t)(qk_bits_of(value + 0x1.8p23f) - 0x4b400000) : 0;
  }
}

// ---- Activations of LLM.int8() --------

// From here on a value is an outlier.
static const float threshold = 6;

#if QK_X86
static QK_AVX2 __m256 as_half8(const float *x) {
  return _mm256_cvtph_ps(_mm256_cvtps_ph(_mm256_loadu_ps(x), _MM_FROUND_TO_NEAREST_INT));
}

static QK_AVX2 void quantize_avx2(const float *x, qk_a8_block *blocks, uint32_t *outliers,
                                  size_t count) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  const __m256 limit = _mm256_set1_ps(threshold);
  __m256i most = _mm256_setzero_si256();
  for (size_t b = 0; b < count / 32; b++) {
    uint32_t mask = 0;
    QK_UNROLL for (int i = 0; i < 4; i++) {
      const __m256 size = _mm256_and_ps(as_half8(x + 32 * b + 8 * i), magnitude);
      const __m256 is_outlier = _mm256_cmp_ps(size, limit, _CMP_GE_OQ);
      mask |= (uint32_t)_mm256_movemask_ps(is_outlier) << 8 * i;
      most = _mm256_max_epu32(most, _mm256_castps_si256(_mm256_andnot_ps(is_outlier, size)));
    }
    outliers[b] = mask;
  }
  __m128i half = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
  half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0x4e));
  half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0xb1));
  const float largest = qk_float_of((uint32_t)_mm_cvtsi128_si32(half));
  const __m256 factor = _mm256_set1_ps(127 / largest);
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i most_code = _mm256_set1_epi32(127);
  for (size_t b = 0; b < count / 32; b++) {
    qk_a8_block *block = blocks + b;
    __m256i q[4];
    QK_UNROLL for (int i = 0; i < 4; i++) {
      const __m256 value = as_half8(x + 32 * b + 8 * i);
      const __m256 scaled = _mm256_mul_ps(value, factor);
      // What is no code, as 0 times infinity, is 0.
      const __m256 size = _mm256_and_ps(scaled, magnitude);
      const __m256 is_code =
          _mm256_and_ps(_mm256_cmp_ps(size, _mm256_set1_ps(127.5f), _CMP_LE_OQ),
                        _mm256_cmp_ps(_mm256_and_ps(value, magnitude), limit, _CMP_LT_OQ));
      const __m256i code = _mm256_cvtps_epi32(_mm256_and_ps(scaled, is_code));
      q[i] = _mm256_max_epi32(_mm256_min_epi32(code, most_code),
                              _mm256_sub_epi32(_mm256_setzero_si256(), most_code));
    }
    block->scale = largest * inverse_127;
    qk_a8_set_sums8(block, _mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
    const __m256i bytes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    _mm256_storeu_si256((__m256i *)block->values, _mm256_permutevar8x32_epi32(bytes, order));
  }
}
#endif

void qk_int8_quantize(const float *x, qk_a8_block *blocks, uint32_t *outliers, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    quantize_avx2(x, blocks, outliers, count);
    return;
  }
#endif
  // As integers, magnitudes are ordered: finite, infinity, NaN.
  uint32_t most = 0;
  for (size_t b = 0; b < count / 32; b++) {
    uint32_t mask = 0;
    for (size_t k = 0; k < 32; k++) {
      const float half = qk_half_to_float(qk_float_to_half(x[32 * b + k]));
      const uint32_t magnitude = qk_bits_of(half) & 0x7fffffff;
      const int is_outlier = fabsf(half) >= threshold;
      mask |= (uint32_t)is_outlier << k;
      most = !is_outlier && magnitude > most ? magnitude : most;
    }
    outliers[b] = mask;
  }
  const float largest = qk_float_of(most);
  const float factor = 127 / largest;
  for (size_t b = 0; b < count / 32; b++) {
    qk_a8_block *block = blocks + b;
    block->scale = largest * inverse_127;
    int32_t sums[2] = {0, 0};
    for (size_t k = 0; k < 32; k++) {
      const float half = qk_half_to_float(qk_float_to_half(x[32 * b + k]));
      const float value = outliers[b] >> k & 1 ? 0 : half * factor;
      const int is_code = fabsf(value) <= 127.5f;
      const int32_t q = is_code ? (int32_t)(qk_bits_of(value + 0x1.8p23f) - 0x4b400000) : 0;
      block->values[k] = (int8_t)(q > 127 ? 127 : q < -127 ? -127 : q);
      sums[k / 16] += block->values[k];
    }
    qk_a8_set_sums(block, sums[0], sums[1]);
  }
}

void qk_int8_clear(qk_a8_block *block, uint32_t places) {
  int32_t sums[2] = {block->halves[0], block->halves[1]};
  for (uint32_t left = places; left != 0; left &= left - 1) {
    const int k = __builtin_ctz(left);
    sums[k / 16] -= block->values[k];
    block->values[k] = 0;
  }
  qk_a8_set_sums(block, sums[0], sums[1]);
}

void qk_int8_add_outliers(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                          const float *x, const uint32_t *outliers, float *y) {
  for (size_t b = 0; b < columns / 32; b++) {
    for (uint32_t left = outliers[b]; left != 0; left &= left - 1) {
      const size_t k = 32 * b + (size_t)__builtin_ctz(left);
      const uint8_t *row = weights;
      for (size_t r = 0; r < rows; r++, row += row_bytes) {
        y[r] = fmaf((float)(int8_t)row[HEAD + k] * largest_of(row) * inverse_127, x[k], y[r]);
      }
    }
  }
}

void qk_int8x16_add_outliers(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                             const float *x, const uint32_t *outliers, float *y) {
  for (size_t b = 0; b < columns / 32; b++) {
    for (uint32_t left = outliers[b]; left != 0; left &= left - 1) {
      const size_t k = 32 * b + (size_t)__builtin_ctz(left);
      for (size_t r = 0; r < rows; r++) {
        const uint8_t *group = (const uint8_t *)weights + r / QK_GROUP_ROWS * QK_GROUP_ROWS * row_bytes;
        const uint8_t *word = group + 4 * (r % QK_GROUP_ROWS);
        const int8_t q = (int8_t)word[QK_GROUP_ROWS * (HEAD + k / 4 * 4) + k % 4];
        y[r] = fmaf((float)q * largest_of(word) * inverse_127, x[k], y[r]);
      }
    }
  }
}
