#include "internal.h"

static inline float load_one(const uint8_t *source, size_t k) {
  return qk_half_to_float(qk_load_u16(source + 2 * k));
}

#if QK_X86
QK_AVX2_INLINE __m256 load_eight(const uint8_t *source, size_t k) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(source + 2 * k)));
}

QK_AVX2 static size_t decode_avx2(const uint8_t *source, float *values, size_t count) {
  size_t k = 0;
  for (; k + 8 <= count; k += 8) _mm256_storeu_ps(values + k, load_eight(source, k));
  return k;
}

QK_AVX2 static size_t encode_avx2(const float *values, uint8_t *target, size_t count) {
  size_t k = 0;
  for (; k + 8 <= count; k += 8)
    _mm_storeu_si128((__m128i *)(target + 2 * k),
                     _mm256_cvtps_ph(_mm256_loadu_ps(values + k), _MM_FROUND_TO_NEAREST_INT));
  return k;
}
#endif

void qk_f16_decode(const void *source, float *values, size_t count) {
  size_t k = 0;
#if QK_X86
  if (qk_cpu_isa() >= QK_ISA_AVX2) k = decode_avx2(source, values, count);
#endif
  for (; k < count; k++) values[k] = load_one(source, k);
}

void qk_f16_encode(const float *values, void *target, size_t count) {
  uint8_t *bytes = target;
  size_t k = 0;
#if QK_X86
  if (qk_cpu_isa() >= QK_ISA_AVX2) k = encode_avx2(values, bytes, count);
#endif
  for (; k < count; k++) {
    uint16_t half = qk_float_to_half(values[k]);
    memcpy(bytes + 2 * k, &half, sizeof half);
  }
}

#define QK_NAME(part) qk_f16_##part
#define LOAD_ONE(source, k) load_one(source, k)
#define LOAD_EIGHT(source, k) load_eight(source, k)
#include "floats.h"
