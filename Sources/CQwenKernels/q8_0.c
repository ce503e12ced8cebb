#include "internal.h"

// 34 bytes: half d, 32 signed bytes; d q.
#define BLOCK_BYTES 34
#define SCALE(block) qk_half_to_float(qk_load_u16(block))

static inline void unpack(const uint8_t *block, int8_t *q) { memcpy(q, block + 2, QK_BLOCK); }

#if QK_X86
QK_AVX2_INLINE __m256i unpack_avx2(const uint8_t *block) {
  return _mm256_loadu_si256((const __m256i *)(block + 2));
}
#endif

void qk_q8_0_decode(const void *source, float *values, size_t count) {
  const uint8_t *block = source;
  for (size_t b = 0; b < count / QK_BLOCK; b++, block += BLOCK_BYTES) {
    int8_t q[QK_BLOCK];
    unpack(block, q);
    for (int k = 0; k < QK_BLOCK; k++) values[b * QK_BLOCK + k] = SCALE(block) * q[k];
  }
}

#define QK_NAME(part) qk_q8_0_##part
#include "blocks.h"
