// Blocks of 256 in 8 parts: 128 bytes of lower 4 bits, 64 of upper 2, 16 signed scales of 16 elements each,
// half-precision d. The value is d scale (q - 32).
//
// Parts 4h + r of half h: lower bits in bytes 64h + 32 (r % 2), in the upper halves from r = 2 on; upper bits in
// bytes 32h at bit 2r.
#include "parts.h"
#include "superblock.h"

enum { BYTES = 210, HIGH = 128, SCALES = 192, D = 208 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 8, .codes = QK_CODES_6, .offset = 32, .has_halves = 1, .alike = 2, .is_tail = 1};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){.low = block * BYTES + (size_t)part / 4 * 64 + (size_t)part % 2 * 32,
                    .low_bits = 4,
                    .low_shift = part % 4 < 2 ? 0 : 4,
                    .high = block * BYTES + HIGH + (size_t)part / 4 * 32,
                    .high_bits = 2,
                    .high_shift = part % 4 * 2};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks;
  const uint8_t *source = row + block * BYTES;
  out->d = qk_half_to_float(qk_load_u16(source + D));
  out->s[0] = (int8_t)source[SCALES + 2 * part];
  out->s[1] = (int8_t)source[SCALES + 2 * part + 1];
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->d = qk_half_numbers8(rows, block * BYTES + D);
  qk_four_words8(rows, block * BYTES + SCALES, head->w);
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  out->d = head->d;
  const __m256i scales = head->w[part / 2];
  out->s[0] = _mm256_srai_epi32(_mm256_slli_epi32(scales, part % 2 == 0 ? 24 : 8), 24);
  out->s[1] = _mm256_srai_epi32(_mm256_slli_epi32(scales, part % 2 == 0 ? 16 : 0), 24);
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  head->d = qk_half_numbers4(rows, block * BYTES + D);
  QK_UNROLL for (size_t i = 0; i < 4; i++) { head->w[i] = qk_words4(rows, block * BYTES + SCALES + 4 * i); }
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  out->d[0] = head->d;
  const int32x4_t scales = vreinterpretq_s32_u32(head->w[part / 2]);
  out->s[0][0] = scales << (part % 2 == 0 ? 24 : 8) >> 24;
  out->s[1][0] = scales << (part % 2 == 0 ? 16 : 0) >> 24;
}
#endif

QK_PARTS_DECODE(q6_k)
QK_PARTS_MATMUL(q6_k)

// ---- In groups: codes of 6 bits, the upper 2 of three words together the fourth, which are put together by fewer
// operations. Scales and d stay.

QK_INLINE qk_place group_place(size_t blocks, size_t block, int part) {
  (void)blocks;
  return (qk_place){.low = block * BYTES + 24 * (size_t)part, .is_shared = 1};
}

// Where code k of a half of a part lies in the 12 bytes of the half; of the last 4, their lower 2 bits.
QK_INLINE size_t shared_byte(int k) { return (size_t)(k < 12 ? k : k - 12); }

static void move_to_shared(const uint8_t *block, uint8_t *moved) {
  memset(moved, 0, SCALES);
  memcpy(moved + SCALES, block + SCALES, BYTES - SCALES);
  for (int part = 0; part < 8; part++) {
    const qk_place at = place(1, 0, part);
    for (int k = 0; k < 32; k++) {
      const int code = qk_code_at(traits, at, block, k) + traits.offset;
      uint8_t *byte = moved + 24 * part + k / 16 * 12 + shared_byte(k % 16);
      if (k % 16 < 12) {
        *byte |= (uint8_t)code;
      } else {
        for (int i = 0; i < 3; i++) { byte[4 * i] |= (uint8_t)((code >> 2 * i & 3) << 6); }
      }
    }
  }
}

static void move_back(const uint8_t *moved, uint8_t *block) {
  memset(block, 0, SCALES);
  memcpy(block + SCALES, moved + SCALES, BYTES - SCALES);
  for (int part = 0; part < 8; part++) {
    const qk_place at = place(1, 0, part);
    for (int k = 0; k < 32; k++) {
      const uint8_t *byte = moved + 24 * part + k / 16 * 12 + shared_byte(k % 16);
      const int high = byte[0] >> 6 | byte[4] >> 6 << 2 | byte[8] >> 6 << 4;
      const int code = k % 16 < 12 ? byte[0] & 63 : high;
      block[at.low + (size_t)k] |= (uint8_t)((code & 15) << at.low_shift);
      block[at.high + (size_t)k] |= (uint8_t)(code >> 4 << at.high_shift);
    }
  }
}

static qk_units units_of(size_t blocks) {
  (void)blocks;
  return (qk_units){0, BYTES, 1};
}

static void gather(const uint8_t *group, size_t blocks, size_t block, size_t r, uint8_t *row) {
  uint8_t moved[BYTES];
  qk_gather_row(units_of(blocks), group, block, r, moved);
  move_back(moved, row);
}

QK_INTERLEAVED_PARTS(q6_k, group_place, move_to_shared)

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
