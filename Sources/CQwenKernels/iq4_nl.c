// Blocks of 32: half-precision d, 4-bit codes as in Q4_0. The value is d table[q].
#include "codebook4.h"
#include "fit.h"

enum { BYTES = 18 };
static const qk_traits traits = {.bytes = BYTES, .parts = 1, .codes = QK_CODES_SIGNED, .table = qk_iq4_table};

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  (void)blocks, (void)part;
  return (qk_place){.low = block * BYTES + 2, .low_bits = 4, .is_split = 1};
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

QK_PARTS_DECODE(iq4_nl)
QK_PARTS_MATMUL(iq4_nl)
QK_PARTS_INTERLEAVED(iq4_nl)

static const qk_grid grid = {0, 0, qk_iq4_values};

QK_INLINE void encode_best(const float *values, const float *importance, void *target, size_t count) {
  uint8_t *block = target;
  for (size_t b = 0; b < count / 32; b++, block += BYTES, values += 32) {
    if (!qk_is_finite(values, 32)) {
      memset(block, 0, BYTES);
      qk_store_half(block, NAN);
      continue;
    }
    float w[32];
    qk_weights_of(importance ? importance + 32 * b : 0, w, 32);
    const qk_line line = {qk_as_half(qk_fit_scale(grid, values, w, 32)), 0};
    uint8_t codes[32];
    qk_codes_of(grid, values, 32, line, codes);
    qk_store_half(block, line.d);
    qk_store_nibbles(block + 2, codes);
  }
}

QK_BEST_ENCODER(iq4_nl)

void qk_iq4_nl_encode(const float *values, void *target, size_t count) {
  qk_iq4_nl_encode_best(values, 0, target, count);
}
