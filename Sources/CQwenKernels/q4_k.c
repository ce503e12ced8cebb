// Blocks of 256 in 8 parts: half-precision d and minimum, 12 bytes of 6-bit scales and minima, 128 bytes of
// 4-bit codes. Byte k of 32 holds element k of two parts. The value is d scale q - dmin minimum.
#include "scales6.h"

enum { BYTES = 144 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 8, .codes = QK_CODES_4, .has_minimum = 1};

static void unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  const qk_scale6 scale = qk_scale6_of(source + 4, part);
  out->d = qk_half_to_float(qk_load_u16(source)) * (float)scale.scale;
  out->m = -qk_half_to_float(qk_load_u16(source + 2)) * (float)scale.minimum;
  for (int k = 0; k < 32; k++) {
    out->q[k] = source[16 + part / 2 * 32 + k] >> part % 2 * 4 & 15;
  }
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  qk_head_scales6(row, block * BYTES, head);
}

QK_INLINE QK_AVX2 void unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                               const qk_head8 *head, qk_part8 *out) {
  (void)blocks;
  qk_apply_scales6(head, part, out);
  qk_bytes8(row, block * BYTES + 16 + (size_t)part / 2 * 32, out->q);
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i codes = part % 2 == 0 ? out->q[g] : _mm256_srli_epi16(out->q[g], 4);
    out->q[g] = _mm256_and_si256(codes, _mm256_set1_epi8(15));
  }
}
#endif

QK_PARTS_DECODE(q4_k, traits, unpack)
QK_PARTS_MATMUL(q4_k, traits, unpack, head8, unpack8)
