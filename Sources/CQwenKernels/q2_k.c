// Blocks of 256 in 8 parts: 16 bytes with a 4-bit scale and, above, a 4-bit minimum of 16 elements each, 64
// bytes of 2-bit codes, half-precision d and minimum. The value is d scale q - dmin minimum.
//
// Part 4h + r: bytes 32h at bit 2r.
#include "parts.h"
#include "superblock.h"

enum { BYTES = 84, CODES = 16, D = 80 };
static const qk_traits traits = {.bytes = BYTES,
                                 .parts = 8,
                                 .alike = 4,
                                 .codes = QK_CODES_4,
                                 .has_minimum = 1,
                                 .has_halves = 1,
                                 .has_minimum_halves = 1};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){.low = block * BYTES + CODES + (size_t)part / 4 * 32,
                    .low_bits = 2,
                    .low_shift = part % 4 * 2};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  out->d = qk_half_to_float(qk_load_u16(source + D));
  out->m = -qk_half_to_float(qk_load_u16(source + D + 2));
  for (int i = 0; i < 2; i++) {
    out->s[i] = source[2 * part + i] & 15;
    out->o[i] = source[2 * part + i] >> 4;
  }
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  const __m256i scales = qk_words8(rows, block * BYTES + D);
  qk_both_halves(scales, &head->d, &head->m);
  head->m = _mm256_xor_ps(head->m, _mm256_set1_ps(-0.0f));
  qk_four_words8(rows, block * BYTES, head->w);
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  const __m256i four = _mm256_set1_epi32(15);
  out->d = head->d;
  out->m = head->m;
  QK_UNROLL for (int i = 0; i < 2; i++) {
    const __m256i both = _mm256_srli_epi32(head->w[part / 2], 16 * (part % 2) + 8 * i);
    out->s[i] = _mm256_and_si256(both, four);
    out->o[i] = _mm256_and_si256(_mm256_srli_epi32(both, 4), four);
  }
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  const uint32x4_t scales = qk_words4(rows, block * BYTES + D);
  head->d = qk_low_halves4(scales);
  head->m = vnegq_f32(qk_high_halves4(scales));
  QK_UNROLL for (size_t i = 0; i < 4; i++) { head->w[i] = qk_words4(rows, block * BYTES + 4 * i); }
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  out->d[0] = head->d;
  out->m[0] = head->m;
  QK_UNROLL for (int i = 0; i < 2; i++) {
    const uint32x4_t both = head->w[part / 2] >> (uint32_t)(16 * (part % 2) + 8 * i);
    out->s[i][0] = vreinterpretq_s32_u32(both & 15);
    out->o[i][0] = vreinterpretq_s32_u32(both >> 4 & 15);
  }
}
#endif

QK_PARTS_DECODE(q2_k)
QK_PARTS_MATMUL(q2_k)
QK_PARTS_INTERLEAVED(q2_k)

static const qk_super_shape shape = {.grid = {0, 3, 0}, .width = 16, .low = 0, .high = 15};

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 256; b++, block += BYTES, values += 256) {
    float w[256];
    uint8_t codes[256];
    qk_weights_of(importance ? importance + 256 * b : 0, w, 256);
    const qk_super s = qk_fit_super(shape, values, w, 1, codes);
    memset(block, 0, BYTES);
    qk_store_half(block + D, s.d);
    qk_store_half(block + D + 2, s.m);
    for (int i = 0; i < 16; i++) {
      block[i] = (uint8_t)((uint8_t)s.scale[i] | (uint8_t)s.minimum[i] << 4);
    }
    for (int k = 0; k < 256; k++) {
      block[CODES + k / 128 * 32 + k % 32] |= (uint8_t)(codes[k] << k / 32 % 4 * 2);
    }
  }
}

QK_BEST_ENCODER(q2_k)

void qk_q2_k_encode(const float *values, void *target, size_t count) {
  qk_q2_k_encode_best(values, 0, target, count);
}
