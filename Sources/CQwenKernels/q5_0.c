// Blocks of 32: half-precision d, a word with the fifth bit of each element, then 4-bit codes as in Q4_0. The
// value is d (q - 16).
#include "encode.h"
#include "fit.h"
#include "parts.h"

enum { BYTES = 22 };
static const qk_traits traits = {.bytes = BYTES, .parts = 1, .codes = QK_CODES_5, .offset = 16};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks, (void)part;
  return (qk_place){.low = block * BYTES + 6,
                    .low_bits = 4,
                    .is_split = 1,
                    .word = block * BYTES + 2,
                    .has_word = 1};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks, (void)part;
  out->d = qk_half_to_float(qk_load_u16(row + block * BYTES));
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->d = qk_half_numbers8(rows, block * BYTES);
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  (void)part;
  out->d = head->d;
}
#elif QK_ARM
QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  (void)blocks;
  head->d = qk_half_numbers4(rows, block * BYTES);
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  (void)part;
  out->d[0] = head->d;
}
#endif

QK_PARTS_DECODE(q5_0)
QK_PARTS_MATMUL(q5_0)
QK_PARTS_INTERLEAVED(q5_0)

void qk_q5_0_encode(const float *values, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 32; b++, block += BYTES, values += 32) {
    const float d = qk_largest32(values) / -16;
    const float inverse = qk_inverse(d);
    uint8_t codes[32];
    for (size_t k = 0; k < 32; k++) {
      codes[k] = qk_code(values[k] * inverse, 16.5f, 31);
    }
    qk_store_half(block, d);
    qk_store_codes5(block + 2, codes);
  }
}

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  const qk_blocks32 form = {.bytes = BYTES,
                            .grid = {-16, 15, 0},
                            .encode = qk_q5_0_encode,
                            .store = qk_store_codes5};
  qk_encode_best32(form, values, importance, target, count);
}

QK_BEST_ENCODER(q5_0)
