// Blocks of 32: half-precision d, 4-bit codes as in Q4_0. The value is d table[q].
#include "codebook4.h"
#include "fit.h"

enum { BYTES = 18 };
static const qk_traits traits = {.bytes = BYTES, .parts = 1, .codes = QK_CODES_SIGNED};

static void unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)blocks, (void)part;
  const uint8_t *source = row + block * BYTES;
  out->d = qk_half_to_float(qk_load_u16(source));
  qk_nibbles(source + 2, out->q);
  for (int k = 0; k < 32; k++) {
    out->q[k] = qk_iq4_table[out->q[k]];
  }
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head) {
  (void)blocks;
  head->d = qk_halves8(row, block * BYTES);
}

QK_INLINE QK_AVX2 void unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                               const qk_head8 *head, qk_part8 *out) {
  (void)blocks, (void)part;
  out->d = head->d;
  qk_nibbles8(row, block * BYTES + 2, out->q);
  QK_UNROLL for (int g = 0; g < 8; g++) { out->q[g] = qk_look_up(qk_iq4_table, out->q[g]); }
}
#endif

QK_PARTS_DECODE(iq4_nl, traits, unpack)
QK_PARTS_MATMUL(iq4_nl, traits, unpack, head8, unpack8)

static const qk_grid grid = {0, 0, qk_iq4_table};

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
