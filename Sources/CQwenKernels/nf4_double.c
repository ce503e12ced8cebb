// Rows of NF4 whose largest magnitudes are themselves in 8 bits, 256 of them in a segment of the matrix read row
// after row:
//   float offset; 32 bits phase: where in its segment the row begins; floats: the factors of the segments that the
//   row touches; then blocks of 64: a byte i and 32 bytes of codes as in NF4.
// The value is (dynamic8[i] * factor + offset) * table[q], as bitsandbytes has it.
#include "dynamic8.h"
#include "nf4_table.h"

enum { BYTES = 33, SEGMENT = 256 };
static const qk_traits traits = {.bytes = BYTES, .parts = 2, .codes = QK_CODES_WIDE};
#define TABLE (&qk_nf4_table)

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
    qk_decode_wide(TABLE, codes, largest, values);
    qk_decode_wide(TABLE, codes + 16, largest, values + 32);
  }
}

static void unpack(const uint8_t *row, size_t blocks, size_t block, int part, qk_part *out) {
  const uint8_t *codes = row + head_bytes(blocks) + block * BYTES + 1;
  qk_unpack_wide(TABLE, codes + 16 * part, largest_of(row, blocks, block), out);
}

#if QK_X86
QK_INLINE QK_AVX2 void head8(const uint8_t *const row[8], size_t blocks, size_t block, qk_head8 *head) {
  float largest[8];
  QK_UNROLL for (int r = 0; r < 8; r++) { largest[r] = largest_of(row[r], blocks, block); }
  head->d = _mm256_div_ps(_mm256_loadu_ps(largest), _mm256_set1_ps(TABLE->unit));
}

QK_INLINE QK_AVX2 void unpack8(const uint8_t *const row[8], size_t blocks, size_t block, int part,
                               const qk_head8 *head, qk_part8 *out) {
  const size_t codes = head_bytes(blocks) + block * BYTES + 1;
  qk_unpack_wide8(TABLE, row, codes + 16 * (size_t)part, head->d, out);
}
#endif

QK_PARTS_MATMUL(nf4_double, traits, unpack, head8, unpack8)

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
