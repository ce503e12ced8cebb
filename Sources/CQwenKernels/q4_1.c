#include "internal.h"

// 20 bytes: half d, half m, 16 bytes as in Q4_0; d q + m.
#define BLOCK_BYTES 20
#define HAS_MINIMUM 1
#define SCALE(block) qk_half_to_float(qk_load_u16(block))
#define MINIMUM(block) qk_half_to_float(qk_load_u16((block) + 2))

static inline void unpack(const uint8_t *block, int8_t *q) {
  for (int j = 0; j < 16; j++) {
    q[j] = (int8_t)(block[4 + j] & 15);
    q[16 + j] = (int8_t)(block[4 + j] >> 4);
  }
}

#if QK_X86
QK_AVX2_INLINE __m256i unpack_avx2(const uint8_t *block) {
  __m128i low = _mm_loadu_si128((const __m128i *)(block + 4));
  __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_srli_epi16(low, 4), 1);
  return _mm256_and_si256(both, _mm256_set1_epi8(15));
}
#endif

// Product and sum are rounded one after the other, as the format's own reference does.
void qk_q4_1_decode(const void *source, float *values, size_t count) {
#pragma STDC FP_CONTRACT OFF
  const uint8_t *block = source;
  for (size_t b = 0; b < count / QK_BLOCK; b++, block += BLOCK_BYTES) {
    int8_t q[QK_BLOCK];
    unpack(block, q);
    for (int k = 0; k < QK_BLOCK; k++)
      values[b * QK_BLOCK + k] = SCALE(block) * q[k] + MINIMUM(block);
  }
}

#define QK_NAME(part) qk_q4_1_##part
#include "blocks.h"
