#include "internal.h"

static inline float load_one(const uint8_t *source, size_t k) {
  return qk_from_bits((uint32_t)qk_load_u16(source + 2 * k) << 16);
}

#if QK_X86
QK_AVX2_INLINE __m256 load_eight(const uint8_t *source, size_t k) {
  __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(source + 2 * k)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
#endif

void qk_bf16_decode(const void *source, float *values, size_t count) {
  for (size_t k = 0; k < count; k++) values[k] = load_one(source, k);
}

#define QK_NAME(part) qk_bf16_##part
#define LOAD_ONE(source, k) load_one(source, k)
#define LOAD_EIGHT(source, k) load_eight(source, k)
#include "floats.h"
