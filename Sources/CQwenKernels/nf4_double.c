// Rows of NF4 whose largest magnitudes are themselves in 8 bits, 256 of them in a segment of the matrix read row
// after row:
//   float offset; 32 bits phase: where in its segment the row begins; floats: the factors of the segments that the
//   row touches; then blocks of 64: a byte i and 32 bytes of codes as in NF4.
// The value is (dynamic8[i] * factor + offset) * table[q], as bitsandbytes has it.
#include "dynamic8.h"
#include "fit.h"
#include "nf4_table.h"

enum { BYTES = 33, SEGMENT = 256 };
static const qk_traits traits = {
    .bytes = BYTES, .parts = 2, .codes = QK_CODES_WIDE, .wide = qk_nf4_table.entries};

// Segments that a row of so many blocks may touch.
static size_t segments_of(size_t blocks) { return (blocks + SEGMENT - 2) / SEGMENT + 1; }

static size_t head_bytes(size_t blocks) { return 8 + 4 * segments_of(blocks); }

size_t qk_nf4_double_head_bytes(size_t columns) { return head_bytes(columns / 64); }

static float load_float(const uint8_t *source) {
  float value;
  memcpy(&value, source, sizeof value);
  return value;
}

QK_INLINE float largest_of(const uint8_t *row, size_t blocks, size_t block) {
  uint32_t phase;
  memcpy(&phase, row + 4, sizeof phase);
  const size_t segment = (phase % SEGMENT + block) / SEGMENT;
  const uint8_t code = row[head_bytes(blocks) + block * BYTES];
  return qk_dynamic8[code] * load_float(row + 8 + 4 * segment) + load_float(row);
}

void qk_nf4_double_decode(const void *source, float *values, size_t count) {
  const uint8_t *row = source;
  const size_t blocks = count / 64;
  for (size_t b = 0; b < blocks; b++, values += 64) {
    const uint8_t *codes = row + head_bytes(blocks) + b * BYTES + 1;
    const float largest = largest_of(row, blocks, b);
    qk_decode_wide(&qk_nf4_table, codes, largest, values);
    qk_decode_wide(&qk_nf4_table, codes + 16, largest, values + 32);
  }
}

QK_INLINE qk_place place(size_t blocks, size_t block, int part) {
  return (qk_place){.low = head_bytes(blocks) + block * BYTES + 1 + 16 * (size_t)part,
                    .low_bits = 4,
                    .is_split = 1};
}

static void factors(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  (void)part;
  out->d = largest_of(row, blocks, block) * qk_nf4_table.inverse;
}

#if QK_X86
// The factor of the segment that a block is in: as phases are below 256, that of segment `block / 256` of the row or
// of the next.
QK_INLINE QK_AVX2 __m256 factor8(const qk_rows8 *rows, size_t blocks, size_t block) {
  const size_t segment = block / SEGMENT;
  const size_t next = segment + 1 < segments_of(blocks) ? segment + 1 : segment;
  const __m256i phase = _mm256_and_si256(qk_words8(rows, 4), _mm256_set1_epi32(SEGMENT - 1));
  const __m256i room = _mm256_set1_epi32((int32_t)(SEGMENT - 1 - block % SEGMENT));
  return _mm256_blendv_ps(qk_floats8(rows, 8 + 4 * segment), qk_floats8(rows, 8 + 4 * next),
                          _mm256_castsi256_ps(_mm256_cmpgt_epi32(phase, room)));
}

QK_INLINE QK_AVX2 void head8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head) {
  const size_t offset = head_bytes(blocks) + block * BYTES;
  float number[8];
  QK_UNROLL for (int r = 0; r < 8; r++) { number[r] = qk_dynamic8[*qk_byte_of(rows, offset, r)]; }
  const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(number), factor8(rows, blocks, block));
  const __m256 largest = _mm256_add_ps(scaled, qk_floats8(rows, 0));
  head->d = _mm256_mul_ps(largest, _mm256_set1_ps(qk_nf4_table.inverse));
}

QK_INLINE QK_AVX2 void factors8(const qk_head8 *head, int part, qk_part8 *out) {
  (void)part;
  out->d = head->d;
}
#elif QK_ARM
// As factor8.
QK_INLINE float32x4_t factor4(const qk_rows4 *rows, size_t blocks, size_t block) {
  const size_t segment = block / SEGMENT;
  const size_t next = segment + 1 < segments_of(blocks) ? segment + 1 : segment;
  const uint32x4_t phase = qk_words4(rows, 4) & (SEGMENT - 1);
  const uint32x4_t room = vdupq_n_u32((uint32_t)(SEGMENT - 1 - block % SEGMENT));
  return vbslq_f32(vcgtq_u32(phase, room), qk_floats4(rows, 8 + 4 * next), qk_floats4(rows, 8 + 4 * segment));
}

QK_INLINE void head4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head) {
  const uint32x4_t codes = qk_bytes4(rows, head_bytes(blocks) + block * BYTES);
  const float32x4_t number = {qk_dynamic8[codes[0]], qk_dynamic8[codes[1]], qk_dynamic8[codes[2]],
                              qk_dynamic8[codes[3]]};
  const float32x4_t scaled = vmulq_f32(number, factor4(rows, blocks, block));
  head->d = vmulq_n_f32(vaddq_f32(scaled, qk_floats4(rows, 0)), qk_nf4_table.inverse);
}

QK_INLINE void factors4(const qk_head4 *head, int part, qk_part4 *out) {
  (void)part;
  out->d[0] = head->d;
}
#endif

QK_PARTS_MATMUL(nf4_double)

static qk_units units_of(size_t blocks) { return (qk_units){head_bytes(blocks), BYTES, 0}; }

// A row of one block has one segment, which begins with it.
static void gather(const uint8_t *group, size_t blocks, size_t block, size_t r, uint8_t *row) {
  const uint8_t *words = group + 4 * r;
  uint32_t phase;
  memcpy(&phase, words + 4 * QK_GROUP_ROWS, sizeof phase);
  const size_t segment = (phase % SEGMENT + block) / SEGMENT;
  memcpy(row, words, 4);
  memset(row + 4, 0, 4);
  memcpy(row + 8, words + (8 + 4 * segment) * QK_GROUP_ROWS, 4);
  const qk_units block_of = {0, BYTES, 0};
  const uint8_t *from = group + head_bytes(blocks) * QK_GROUP_ROWS;
  qk_gather_row(block_of, from, block, r, row + head_bytes(1));
}

QK_INTERLEAVED_PARTS(nf4_double, place, 0)

void qk_nf4_largest(const float *values, float *largest, size_t count) {
  for (size_t b = 0; b < count / 64; b++) {
    largest[b] = qk_largest64(values + 64 * b);
  }
}

void qk_dynamic8_encode(const float *values, size_t count, float *factor, uint8_t *codes) {
  float largest = 0;
  for (size_t k = 0; k < count; k++) {
    const float magnitude = fabsf(values[k]);
    largest = magnitude > largest ? magnitude : largest;
  }
  *factor = largest;
  for (size_t k = 0; k < count; k++) {
    // bitsandbytes looks the nearest code up by the upper 16 bits: the value is rounded to them first.
    const float place = (values[k] / largest + 1) * 32767.5f + 0.5f;
    const float clean = place >= 0 ? place < 65535 ? place : 65535 : 0;
    const float value = (float)(uint32_t)clean / 32767.5f - 1;
    size_t low = 0;
    size_t high = 255;
    while (low < high) {
      const size_t middle = (low + high) / 2;
      if (value <= (qk_dynamic8[middle] + qk_dynamic8[middle + 1]) / 2) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    codes[k] = (uint8_t)low;
  }
}

void qk_nf4_double_begin(float offset, size_t first, const float *factors, size_t factor_count,
                         void *target, size_t columns) {
  uint8_t *row = target;
  const uint32_t phase = (uint32_t)(first % SEGMENT);
  memcpy(row, &offset, sizeof offset);
  memcpy(row + 4, &phase, sizeof phase);
  for (size_t i = 0; i < segments_of(columns / 64); i++) {
    const size_t segment = first / SEGMENT + i;
    const float factor = segment < factor_count ? factors[segment] : 0;
    memcpy(row + 8 + 4 * i, &factor, sizeof factor);
  }
}

void qk_nf4_double_encode(const float *values, const uint8_t *codes, void *target, size_t columns) {
  uint8_t *block = (uint8_t *)target + head_bytes(columns / 64);
  for (size_t b = 0; b < columns / 64; b++, block += BYTES, values += 64) {
    block[0] = codes[b];
    // 4-bit codes come from the magnitude itself, not from what its 8 bits say.
    qk_nf4_codes(values, qk_largest64(values), block + 1);
  }
}

// ---- Least error --------

QK_INLINE void fit_largest(const float *values, const float *importance, float *largest, size_t count) {
  const qk_grid grid = {0, 0, qk_nf4_table.values};
  for (size_t b = 0; b < count / 64; b++, values += 64) {
    largest[b] = qk_largest64(values);
    if (!qk_is_finite(values, 64)) {
      continue;
    }
    float w[64];
    qk_weights_of(importance ? importance + 64 * b : 0, w, 64);
    const qk_line plain = {largest[b], 0};
    // Magnitudes are coded by their distance from their mean: a negative one would be far from it.
    const qk_line fit = {qk_fit_signed_scale(grid, values, w, 64, 1), 0};
    largest[b] = qk_choose_line(grid, values, w, 64, plain, fit).d;
  }
}

QK_INLINE void recode(const float *values, const uint8_t *codes, void *target, size_t columns) {
  const qk_grid grid = {0, 0, qk_nf4_table.values};
  const size_t blocks = columns / 64;
  uint8_t *block = (uint8_t *)target + head_bytes(blocks);
  for (size_t b = 0; b < blocks; b++, block += BYTES, values += 64) {
    block[0] = codes[b];
    if (!qk_is_finite(values, 64)) {
      qk_nf4_codes(values, qk_largest64(values), block + 1);
      continue;
    }
    uint8_t found[64];
    qk_codes_of(grid, values, 64, (qk_line){largest_of(target, blocks, b), 0}, found);
    qk_store_nibbles(block + 1, found);
    qk_store_nibbles(block + 17, found + 32);
  }
}

#if QK_X86
static QK_AVX2 void fit_largest_avx2(const float *values, const float *importance, float *largest,
                                     size_t count) {
  fit_largest(values, importance, largest, count);
}

static QK_AVX2 void recode_avx2(const float *values, const uint8_t *codes, void *target, size_t columns) {
  recode(values, codes, target, columns);
}
#endif

void qk_nf4_fit_largest(const float *values, const float *importance, float *largest, size_t count) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    fit_largest_avx2(values, importance, largest, count);
    return;
  }
#endif
  fit_largest(values, importance, largest, count);
}

void qk_nf4_double_encode_best(const float *values, const uint8_t *codes, void *target, size_t columns) {
#if QK_X86
  if (qk_isa() >= QK_ISA_AVX2) {
    recode_avx2(values, codes, target, columns);
    return;
  }
#endif
  recode(values, codes, target, columns);
}
