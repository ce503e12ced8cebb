// Blocks of 256 in 8 parts: 32 bytes whose bit p is the third bit of part p, 64 bytes of 2-bit codes, 12 bytes of
// 16 6-bit scales of 16 elements each, half-precision d. The value is d (scale - 32) (q - 4).
//
// Part 4h + r: bytes 32h at bit 2r. Scale i: its lower 4 bits are a half of byte i % 8 (the upper one from 8 on), its
// upper 2 lie in byte 8 + i % 4 at bit 2 (i / 4).
#include "parts.h"
#include "superblock.h"

enum { BYTES = 110, CODES = 32, SCALES = 96, D = 108 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 8, .codes = QK_CODES_4, .offset = 4, .has_halves = 1, .is_tail = 1};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){.low = block * BYTES + CODES + (size_t)part / 4 * 32,
                    .low_bits = 2,
                    .low_shift = part % 4 * 2,
                    .high = block * BYTES,
                    .high_bits = 1,
                    .high_shift = part};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  out->d = qk_half_to_float(qk_load_u16(source + D));
  for (int i = 0; i < 2; i++) {
    const int index = 2 * part + i;
    const int low = source[SCALES + index % 8] >> index / 8 * 4 & 15;
    const int high = source[SCALES + 8 + index % 4] >> index / 4 * 2 & 3;
    out->s[i] = (low | high << 4) - 32;
  }
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  if (rows->is_group) {
    head->d = qk_half_numbers8(rows, block * BYTES + D);
    QK_UNROLL for (size_t i = 0; i < 3; i++) {
      head->w[i] = qk_words8(rows, block * BYTES + SCALES + 4 * i);
    }
    return;
  }
  // The last 16 bytes of the block: two of codes, the scales, d.
  __m256i w[4];
  qk_four_words8(rows, block * BYTES + SCALES - 2, w);
  head->d = qk_high_halves(w[3]);
  QK_UNROLL for (int i = 0; i < 3; i++) {
    head->w[i] = _mm256_or_si256(_mm256_srli_epi32(w[i], 16), _mm256_slli_epi32(w[i + 1], 16));
  }
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  out->d = head->d;
  QK_UNROLL for (int i = 0; i < 2; i++) {
    const int index = 2 * part + i;
    const __m256i low = _mm256_and_si256(
        _mm256_srli_epi32(head->w[index / 4 % 2], index % 4 * 8 + index / 8 * 4),
        _mm256_set1_epi32(15));
    const __m256i high = _mm256_and_si256(
        _mm256_srli_epi32(head->w[2], index % 4 * 8 + index / 4 * 2), _mm256_set1_epi32(3));
    const __m256i scale = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
    out->s[i] = _mm256_sub_epi32(scale, _mm256_set1_epi32(32));
  }
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  head->d = qk_half_numbers4(rows, block * BYTES + D);
  QK_UNROLL for (size_t i = 0; i < 3; i++) { head->w[i] = qk_words4(rows, block * BYTES + SCALES + 4 * i); }
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  out->d[0] = head->d;
  QK_UNROLL for (int i = 0; i < 2; i++) {
    const int index = 2 * part + i;
    const uint32x4_t low = head->w[index / 4 % 2] >> (uint32_t)(index % 4 * 8 + index / 8 * 4) & 15;
    const uint32x4_t high = head->w[2] >> (uint32_t)(index % 4 * 8 + index / 4 * 2) & 3;
    out->s[i][0] = vreinterpretq_s32_u32(low | high << 4) - 32;
  }
}
#endif

QK_PARTS_DECODE(q3_k)
QK_PARTS_MATMUL(q3_k)
QK_PARTS_INTERLEAVED(q3_k)

static const qk_super_shape shape = {.grid = {-4, 3, 0}, .width = 16, .low = -32, .high = 31};

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 256; b++, block += BYTES, values += 256) {
    float w[256];
    uint8_t codes[256];
    qk_weights_of(importance ? importance + 256 * b : 0, w, 256);
    const qk_super s = qk_fit_super(shape, values, w, 0, codes);
    memset(block, 0, BYTES);
    qk_store_half(block + D, s.d);
    for (int i = 0; i < 16; i++) {
      const uint8_t scale = (uint8_t)(s.scale[i] + 32);
      block[SCALES + i % 8] |= (uint8_t)((scale & 15) << i / 8 * 4);
      block[SCALES + 8 + i % 4] |= (uint8_t)(scale >> 4 << i / 4 * 2);
    }
    for (int k = 0; k < 256; k++) {
      const int part = k / 32;
      block[CODES + part / 4 * 32 + k % 32] |= (uint8_t)((codes[k] & 3) << part % 4 * 2);
      block[k % 32] |= (uint8_t)(codes[k] >> 2 << part);
    }
  }
}

QK_BEST_ENCODER(q3_k)

void qk_q3_k_encode(const float *values, void *target, size_t count) {
  qk_q3_k_encode_best(values, 0, target, count);
}
