// Blocks of 256 in 8 parts: half-precision d, 2 upper bits of 8 scales in 16 bits, their lower 4 in 4 bytes, 16
// bytes of 4-bit codes a part as in IQ4_NL. The value is d (scale - 32) table[q].
#include "codebook4.h"
#include "superblock.h"

enum { BYTES = 136, CODES = 8 };
static const qk_traits traits = {.bytes = BYTES, .parts = 8, .alike = 1, .codes = QK_CODES_SIGNED, .table = qk_iq4_table};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){
      .low = block * BYTES + CODES + 16 * (size_t)part, .low_bits = 4, .is_split = 1};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  const int low = source[4 + part / 2] >> part % 2 * 4 & 15;
  const int high = qk_load_u16(source + 2) >> 2 * part & 3;
  out->d = qk_half_to_float(qk_load_u16(source)) * (float)((low | high << 4) - 32);
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->w[0] = qk_words8(rows, block * BYTES);
  head->w[1] = qk_words8(rows, block * BYTES + 4);
  head->d = qk_low_halves(head->w[0]);
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  const __m256i low =
      _mm256_and_si256(_mm256_srli_epi32(head->w[1], 4 * part), _mm256_set1_epi32(15));
  const __m256i high =
      _mm256_and_si256(_mm256_srli_epi32(head->w[0], 16 + 2 * part), _mm256_set1_epi32(3));
  const __m256i scale = _mm256_sub_epi32(_mm256_or_si256(low, _mm256_slli_epi32(high, 4)),
                                         _mm256_set1_epi32(32));
  out->d = _mm256_mul_ps(head->d, _mm256_cvtepi32_ps(scale));
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  head->w[0] = qk_words4(rows, block * BYTES);
  head->w[1] = qk_words4(rows, block * BYTES + 4);
  head->d = qk_low_halves4(head->w[0]);
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  const uint32x4_t low = head->w[1] >> (uint32_t)(4 * part) & 15;
  const uint32x4_t high = head->w[0] >> (uint32_t)(16 + 2 * part) & 3;
  out->d[0] = vmulq_f32(head->d, vcvtq_f32_s32(vreinterpretq_s32_u32(low | high << 4) - 32));
}
#endif

QK_PARTS_DECODE(iq4_xs)
QK_PARTS_MATMUL(iq4_xs)
QK_PARTS_INTERLEAVED(iq4_xs)

static const qk_super_shape shape = {.grid = {0, 0, qk_iq4_values}, .width = 32, .low = -32, .high = 31};

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 256; b++, block += BYTES, values += 256) {
    float w[256];
    uint8_t codes[256];
    qk_weights_of(importance ? importance + 256 * b : 0, w, 256);
    const qk_super s = qk_fit_super(shape, values, w, 0, codes);
    memset(block, 0, BYTES);
    qk_store_half(block, s.d);
    uint16_t high = 0;
    for (int p = 0; p < 8; p++) {
      const uint8_t scale = (uint8_t)(s.scale[p] + 32);
      block[4 + p / 2] |= (uint8_t)((scale & 15) << p % 2 * 4);
      high |= (uint16_t)(scale >> 4 << 2 * p);
      qk_store_nibbles(block + CODES + 16 * p, codes + 32 * p);
    }
    qk_store_u16(block + 2, high);
  }
}

QK_BEST_ENCODER(iq4_xs)

void qk_iq4_xs_encode(const float *values, void *target, size_t count) {
  qk_iq4_xs_encode_best(values, 0, target, count);
}
