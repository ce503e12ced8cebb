// Blocks of 256 in 8 parts: 128 bytes of lower 4 bits, 64 of upper 2, 16 signed scales of 16 elements each,
// half-precision d. The value is d scale (q - 32).
//
// Parts 4h + r of half h: lower bits in bytes 64h + 32 (r % 2), in the upper halves from r = 2 on; upper bits in
// bytes 32h at bit 2r.
#include "parts.h"
#include "superblock.h"

enum { BYTES = 210, HIGH = 128, SCALES = 192, D = 208 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 8, .codes = QK_CODES_6, .offset = 32, .has_halves = 1};

static void unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  const uint8_t *low = source + part / 4 * 64 + part % 2 * 32;
  const uint8_t *high = source + HIGH + part / 4 * 32;
  out->d = qk_half_to_float(qk_load_u16(source + D));
  out->s[0] = (int8_t)source[SCALES + 2 * part];
  out->s[1] = (int8_t)source[SCALES + 2 * part + 1];
  for (int k = 0; k < 32; k++) {
    const int lower = part % 4 < 2 ? low[k] & 15 : low[k] >> 4;
    out->q[k] = (lower | (high[k] >> part % 4 * 2 & 3) << 4) - 32;
  }
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->d = qk_halves8(row, block * BYTES + D);
  qk_transpose16(row, block * BYTES + SCALES, head->w);
}

QK_INLINE QK_AVX2 void unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                               const qk_head8 *head, qk_part8 *out) {
  (void)blocks;
  const size_t source = block * BYTES;
  out->d = head->d;
  const __m256i scales = head->w[part / 2];
  out->s[0] = _mm256_srai_epi32(_mm256_slli_epi32(scales, part % 2 == 0 ? 24 : 8), 24);
  out->s[1] = _mm256_srai_epi32(_mm256_slli_epi32(scales, part % 2 == 0 ? 16 : 0), 24);
  __m256i high[8];
  qk_bytes8(row, source + HIGH + (size_t)part / 4 * 32, high);
  qk_bytes8(row, source + (size_t)part / 4 * 64 + (size_t)part % 2 * 32, out->q);
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i lower = part % 4 < 2 ? out->q[g] : _mm256_srli_epi16(out->q[g], 4);
    const int shift = 4 - part % 4 * 2;
    const __m256i upper = shift >= 0 ? _mm256_slli_epi16(high[g], shift < 0 ? 0 : shift)
                                     : _mm256_srli_epi16(high[g], shift < 0 ? -shift : 0);
    out->q[g] = _mm256_or_si256(_mm256_and_si256(lower, _mm256_set1_epi8(15)),
                                _mm256_and_si256(upper, _mm256_set1_epi8(48)));
  }
}
#endif

QK_PARTS_DECODE(q6_k, traits, unpack)
QK_PARTS_MATMUL(q6_k, traits, unpack, head8, unpack8)

static const qk_super_shape shape = {.grid = {-32, 31, 0}, .width = 16, .low = -128, .high = 127};

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 256; b++, block += BYTES, values += 256) {
    float w[256];
    uint8_t codes[256];
    qk_weights_of(importance ? importance + 256 * b : 0, w, 256);
    const qk_super s = qk_fit_super(shape, values, w, 0, codes);
    memset(block, 0, BYTES);
    qk_store_half(block + D, s.d);
    for (int p = 0; p < 16; p++) {
      block[SCALES + p] = (uint8_t)(int8_t)s.scale[p];
    }
    for (int k = 0; k < 256; k++) {
      const int part = k / 32;
      uint8_t *low = block + part / 4 * 64 + part % 2 * 32 + k % 32;
      *low |= (uint8_t)((codes[k] & 15) << (part % 4 < 2 ? 0 : 4));
      block[HIGH + part / 4 * 32 + k % 32] |= (uint8_t)(codes[k] >> 4 << part % 4 * 2);
    }
  }
}

QK_BEST_ENCODER(q6_k)

void qk_q6_k_encode(const float *values, void *target, size_t count) {
  qk_q6_k_encode_best(values, 0, target, count);
}
