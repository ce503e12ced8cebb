// Parts of 8 rows side by side, as the AVX2 and AVX-512 twins see them.
#ifndef QK_PARTS8_H
#define QK_PARTS8_H

#include "parts.h"
#include "panel.h"

#if QK_X86

// 8 rows by themselves, or half of a group of 16 interleaved ones (parts_groups.h). Which of them is known
// when compiled.
typedef struct {
  int is_group;
  const uint8_t *row[8]; // rows by themselves
  const uint8_t *ahead;  // what of rows by themselves is fetched while the first block is read
  const uint8_t *group;  // the group, from its second half on 32 bytes later for words
  int half;
} qk_rows8;

// How far ahead groups are fetched, to the first-level cache: measured, not derived. More than blocks of 32 want: the more
// work a byte is, the fewer bytes does the processor see by itself.
enum { QK_PARTS_AHEAD = 12 << 10 };

// Each part p of a block in turn: as many as are unlike one another are written out, the rest is a loop.
#define QK_EACH_PART(p, traits)                                                                     \
  QK_ROLLED for (int p##_from = 0; p##_from < (traits).parts; p##_from += qk_unlike(traits))          \
  QK_UNROLL for (int p = p##_from; p < p##_from + qk_unlike(traits); p++)

QK_INLINE int qk_unlike(qk_traits traits) { return traits.alike > 0 ? traits.alike : traits.parts; }

// Fetches the cache lines that begin within count bytes, up to one too many: some are asked for twice, which helps,
// since what is asked for while all buffers are taken is dropped.
QK_INLINE void qk_prefetch_parts(const uint8_t *source, size_t count) {
  QK_UNROLL for (size_t i = 0; i < count; i += 64) {
    _mm_prefetch((const char *)source + i, _MM_HINT_T0);
  }
}

// 16 bytes, for the shuffles of both halves of a vector.
QK_INLINE QK_AVX2 __m256i qk_twice(__m128i bytes) { return _mm256_broadcastsi128_si256(bytes); }

// What a format reads once for a block of 8 rows: each fills and reads what it likes.
typedef struct {
  __m256 d, m;
  __m256i w[8];
} qk_head8;

// Vector g of q holds, for each of 8 rows, the codes 4g ... 4g + 3.
typedef struct {
  __m256i q[8];
  __m256i low[8]; // of wide codes; what is in them differs between the twins
  __m256 d, m;
  __m256i zero;
  __m256i s[2], o[2];
} qk_part8;

typedef void qk_head_of8(const qk_rows8 *rows, size_t blocks, size_t block, qk_head8 *head);
// Sets the factors of a part that the format has.
typedef void qk_factors_of8(const qk_head8 *head, int part, qk_part8 *out);

QK_INLINE qk_rows8 qk_rows_from(const uint8_t *first, size_t row_bytes, size_t count) {
  qk_rows8 rows = {.is_group = 0, .ahead = first + qk_prefetch_distance(8 * row_bytes)};
  qk_row_pointers(rows.row, first, row_bytes, count);
  return rows;
}

QK_INLINE qk_rows8 qk_half_group(const uint8_t *group, int half) {
  return (qk_rows8){.is_group = 1, .group = group, .half = half};
}

// 4 bytes of each row at this offset.
QK_INLINE QK_AVX2 __m256i qk_words8(const qk_rows8 *rows, size_t offset) {
  if (rows->is_group) {
    const uint8_t *words = rows->group + 16 * offset + 32 * rows->half;
    return _mm256_loadu_si256((const __m256i *)words);
  }
  int32_t w[8];
  QK_UNROLL for (int r = 0; r < 8; r++) { memcpy(w + r, rows->row[r] + offset, 4); }
  return _mm256_setr_epi32(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]);
}

// The byte of row r at this offset; of a group, where a unit of one byte is.
QK_INLINE const uint8_t *qk_byte_of(const qk_rows8 *rows, size_t offset, int r) {
  return rows->is_group ? rows->group + 16 * offset + 8 * rows->half + r : rows->row[r] + offset;
}

// The byte of each row at this offset, which 3 more follow; of a group, where a unit of one byte is.
QK_INLINE QK_AVX2 __m256i qk_bytes8(const qk_rows8 *rows, size_t offset) {
  if (rows->is_group) {
    const uint8_t *bytes = rows->group + 16 * offset + 8 * rows->half;
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
  }
  return _mm256_and_si256(qk_words8(rows, offset), _mm256_set1_epi32(255));
}

// The floats of each row at this offset.
QK_INLINE QK_AVX2 __m256 qk_floats8(const qk_rows8 *rows, size_t offset) {
  return _mm256_castsi256_ps(qk_words8(rows, offset));
}

// The half-precision numbers at this offset of each row.
QK_INLINE QK_AVX2 __m256 qk_half_numbers8(const qk_rows8 *rows, size_t offset) {
  if (rows->is_group) {
    const uint8_t *halves = rows->group + 16 * offset + 16 * rows->half;
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)halves));
  }
  return qk_halves8(rows->row, offset);
}

// 16 bytes of each row as 4 vectors of 4 bytes a row.
QK_INLINE QK_AVX2 void qk_four_words8(const qk_rows8 *rows, size_t offset, __m256i out[4]) {
  if (rows->is_group) {
    QK_UNROLL for (size_t i = 0; i < 4; i++) { out[i] = qk_words8(rows, offset + 4 * i); }
  } else {
    qk_transpose16(rows->row, offset, out);
  }
}

// The half-precision numbers in the lower halves of 8 words.
QK_INLINE QK_AVX2 __m256 qk_low_halves(__m256i words) {
  const __m256i low = _mm256_and_si256(words, _mm256_set1_epi32(0xffff));
  const __m256i packed = _mm256_packus_epi32(low, low);
  const __m256i order = _mm256_permute4x64_epi64(packed, 0x08);
  return _mm256_cvtph_ps(_mm256_castsi256_si128(order));
}

QK_INLINE QK_AVX2 __m256 qk_high_halves(__m256i words) {
  return qk_low_halves(_mm256_srli_epi32(words, 16));
}

// The half-precision numbers in the lower and in the upper halves of 8 words.
QK_INLINE QK_AVX2 void qk_both_halves(__m256i words, __m256 *low, __m256 *high) {
  const __m256i apart = _mm256_shuffle_epi8(
      words, qk_twice(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15)));
  const __m256i order = _mm256_permute4x64_epi64(apart, 0xd8);
  *low = _mm256_cvtph_ps(_mm256_castsi256_si128(order));
  *high = _mm256_cvtph_ps(_mm256_extracti128_si256(order, 1));
}

// Byte i of each word.
QK_INLINE QK_AVX2 __m256i qk_byte8(__m256i words, int i) {
  if (i == 0) {
    return _mm256_and_si256(words, _mm256_set1_epi32(255));
  }
  if (i == 3) {
    return _mm256_srli_epi32(words, 24);
  }
  const int none = -256;
  return _mm256_shuffle_epi8(
      words, qk_twice(_mm_setr_epi32(none | i, none | (i + 4), none | (i + 8), none | (i + 12))));
}

// Bit 4g + j of each row's word as `value` in byte j.
QK_INLINE QK_AVX2 __m256i qk_bits8(__m256i words, int g, uint8_t value) {
  const int byte = g / 2;
  const int line = byte * 0x01010101;
  const __m256i spread = _mm256_shuffle_epi8(
      words, _mm256_setr_epi32(line, line + 0x04040404, line + 0x08080808, line + 0x0c0c0c0c, line,
                               line + 0x04040404, line + 0x08080808, line + 0x0c0c0c0c));
  const __m256i bits = _mm256_set1_epi32(g % 2 == 0 ? 0x08040201 : (int)0x80402010);
  const __m256i is_set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bits), bits);
  return _mm256_and_si256(is_set, _mm256_set1_epi8((char)value));
}

// Each 4 bytes moved by `shift` bits, up if it is positive, and what stays of `mask` in each byte. A shift that a loop counts
// takes two operations.
QK_INLINE QK_AVX2 __m256i qk_moved8(__m256i words, int shift, int mask) {
  if (!__builtin_constant_p(shift)) {
    words = _mm256_sll_epi16(words, _mm_cvtsi32_si128(shift > 0 ? shift : 0));
    words = _mm256_srl_epi16(words, _mm_cvtsi32_si128(shift < 0 ? -shift : 0));
  } else if (shift > 0) {
    words = _mm256_slli_epi16(words, shift);
  } else if (shift < 0) {
    words = _mm256_srli_epi16(words, -shift);
  }
  return mask == 255 ? words : _mm256_and_si256(words, _mm256_set1_epi8((char)mask));
}

// Codes 4g ... 4g + 3 of a place from the words that have them.
QK_INLINE QK_AVX2 __m256i qk_code8(qk_place at, __m256i low, __m256i high, __m256i word, int g) {
  const int shift = at.is_split ? g / 4 * 4 : at.low_shift;
  __m256i code = qk_moved8(low, -shift, (1 << at.low_bits) - 1);
  if (at.high_bits > 0) {
    const int mask = ((1 << at.high_bits) - 1) << at.low_bits;
    code = _mm256_or_si256(code, qk_moved8(high, at.low_bits - at.high_shift, mask));
  }
  if (at.has_word) {
    code = _mm256_or_si256(code, qk_bits8(word, g, 16));
  }
  return at.is_biased ? _mm256_xor_si256(code, _mm256_set1_epi8(-128)) : code;
}

// Codes 4g ... 4g + 3 of a shared place of a group.
QK_INLINE QK_AVX2 __m256i qk_shared_code8(const qk_rows8 *rows, qk_place at, int g) {
  const size_t from = at.low + (size_t)(g / 4 * 12);
  if (g % 4 < 3) {
    return qk_moved8(qk_words8(rows, from + (size_t)(g % 4 * 4)), 0, 63);
  }
  const __m256i code = qk_moved8(qk_words8(rows, from), -6, 3);
  return _mm256_or_si256(_mm256_or_si256(code, qk_moved8(qk_words8(rows, from + 4), -4, 12)),
                         qk_moved8(qk_words8(rows, from + 8), -2, 48));
}

QK_INLINE QK_AVX2 void qk_codes8(const qk_rows8 *rows, qk_place at, __m256i q[8]) {
  if (at.is_shared) {
    QK_UNROLL for (int g = 0; g < 8; g++) { q[g] = qk_shared_code8(rows, at, g); }
    return;
  }
  __m256i low[8];
  __m256i high[8];
  qk_four_words8(rows, at.low, low);
  if (!at.is_split) {
    qk_four_words8(rows, at.low + 16, low + 4);
  }
  if (at.high_bits > 0) {
    qk_four_words8(rows, at.high, high);
    qk_four_words8(rows, at.high + 16, high + 4);
  }
  const __m256i word = at.has_word ? qk_words8(rows, at.word) : _mm256_setzero_si256();
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i upper = at.high_bits > 0 ? high[g] : word;
    q[g] = qk_code8(at, low[at.is_split ? g % 4 : g], upper, word, g);
  }
}

QK_INLINE QK_AVX2 __m256i qk_look_up(const int8_t table[16], __m256i codes) {
  return _mm256_shuffle_epi8(qk_twice(_mm_loadu_si128((const __m128i *)table)), codes);
}

// The upper bytes (is_high) or the lower ones of a table of 16 bits.
QK_INLINE QK_AVX2 __m128i qk_bytes_of(const int16_t wide[16], int is_high) {
  const __m128i first = _mm_loadu_si128((const __m128i *)wide);
  const __m128i last = _mm_loadu_si128((const __m128i *)(wide + 8));
  if (is_high) {
    return _mm_packs_epi16(_mm_srai_epi16(first, 8), _mm_srai_epi16(last, 8));
  }
  const __m128i byte = _mm_set1_epi16(255);
  return _mm_packus_epi16(_mm_and_si128(first, byte), _mm_and_si128(last, byte));
}

// What the integer sums of the halves of a part, or the first of two that are added, begin with: `offset` times the
// activations taken off.
QK_INLINE QK_AVX2 void qk_starts8(qk_traits traits, int32_t offset, const qk_a8_block *x,
                                  __m256i starts[2]) {
  if (traits.has_halves && offset != 0) {
    starts[0] = _mm256_set1_epi32(-offset * x->halves[0]);
    starts[1] = _mm256_set1_epi32(-offset * x->halves[1]);
  } else {
    starts[0] = _mm256_set1_epi32(-offset * x->sum);
    starts[1] = _mm256_setzero_si256();
  }
}

// Adds the products of one part of 8 rows and one token to the totals: those of the halves of the part, or any two
// that add up to all of them.
QK_INLINE QK_AVX2 __m256 qk_scale_part8(qk_traits traits, const qk_part8 *p, const qk_a8_block *x,
                                        __m256i first, __m256i last, __m256 total) {
  if (traits.has_halves) {
    first = _mm256_mullo_epi32(first, p->s[0]);
    last = _mm256_mullo_epi32(last, p->s[1]);
  }
  __m256i products = _mm256_add_epi32(first, last);
  if (traits.has_zero) {
    const __m256i zeros = _mm256_mullo_epi32(p->zero, _mm256_set1_epi32(x->sum));
    products = _mm256_sub_epi32(products, zeros);
  }
  const __m256 scale = _mm256_set1_ps(x->scale);
  total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(products), _mm256_mul_ps(p->d, scale), total);
  if (traits.has_minimum_halves) {
    const __m256i sum =
        _mm256_add_epi32(_mm256_mullo_epi32(p->o[0], _mm256_set1_epi32(x->halves[0])),
                         _mm256_mullo_epi32(p->o[1], _mm256_set1_epi32(x->halves[1])));
    total = _mm256_fmadd_ps(p->m, _mm256_mul_ps(scale, _mm256_cvtepi32_ps(sum)), total);
  } else if (traits.has_minimum) {
    total = _mm256_fmadd_ps(p->m, _mm256_set1_ps(x->scaled_sum), total);
  }
  return total;
}

// ---- Sets that multiply unsigned and signed bytes to 32 bits --------

// What is taken off codes that are made unsigned; half of a wide one's upper byte counts as 2^15.
QK_INLINE int32_t qk_offset_of(qk_traits traits) {
  return traits.codes == QK_CODES_SIGNED ? 128 : traits.codes == QK_CODES_WIDE ? 1 << 15
                                                                               : traits.offset;
}

// The bytes that codes look up, made unsigned; of wide ones the upper.
QK_INLINE QK_AVX2 __m128i qk_unsigned_table(qk_traits traits) {
  const __m128i table = traits.codes == QK_CODES_WIDE
                            ? qk_bytes_of(traits.wide, 1)
                            : _mm_loadu_si128((const __m128i *)traits.table);
  return _mm_xor_si128(table, _mm_set1_epi8(-128));
}

QK_INLINE QK_AVX2 __m256i qk_unsigned8(qk_traits traits, __m256i code) {
  if (traits.table || traits.wide) {
    return _mm256_shuffle_epi8(qk_twice(qk_unsigned_table(traits)), code);
  }
  return traits.codes == QK_CODES_SIGNED ? _mm256_xor_si256(code, _mm256_set1_epi8(-128)) : code;
}

QK_INLINE QK_AVX2 __m256i qk_lower8(qk_traits traits, __m256i code) {
  return _mm256_shuffle_epi8(qk_twice(qk_bytes_of(traits.wide, 0)), code);
}

QK_INLINE QK_AVX2 void qk_unsigned_entries8(qk_traits traits, qk_part8 *part) {
  QK_UNROLL for (int g = 0; g < 8; g++) {
    if (traits.codes == QK_CODES_WIDE) {
      part->low[g] = qk_lower8(traits, part->q[g]);
    }
    part->q[g] = qk_unsigned8(traits, part->q[g]);
  }
}

// The product of wide codes from the sums of their upper and lower bytes.
QK_INLINE QK_AVX2 __m256i qk_wide_sum8(__m256i upper, __m256i lower) {
  return _mm256_add_epi32(_mm256_slli_epi32(upper, 8), lower);
}

// sum + 4 products of unsigned and signed bytes in each lane.
typedef __m256i qk_dot8(__m256i sum, __m256i q, __m256i four);

// Adds one part of 8 rows, codes made unsigned, times one token to the totals.
QK_INLINE QK_AVX2 __m256 qk_dot_part8(qk_traits traits, qk_dot8 *dot, const qk_part8 *p,
                                      const qk_a8_block *x, __m256 total) {
  const int is_wide = traits.codes == QK_CODES_WIDE;
  const int32_t offset = qk_offset_of(traits);
  __m256i sums[2];
  qk_starts8(traits, is_wide ? 0 : offset, x, sums);
  __m256i fine = _mm256_set1_epi32(is_wide ? -offset * x->sum : 0);
  QK_UNROLL for (int g = 0; g < 4; g++) {
    sums[0] = dot(sums[0], p->q[g], qk_four(x, g));
    sums[1] = dot(sums[1], p->q[g + 4], qk_four(x, g + 4));
    if (is_wide) {
      fine = dot(fine, p->low[g], qk_four(x, g));
      fine = dot(fine, p->low[g + 4], qk_four(x, g + 4));
    }
  }
  if (is_wide) {
    sums[0] = qk_wide_sum8(_mm256_add_epi32(sums[0], sums[1]), fine);
    sums[1] = _mm256_setzero_si256();
  }
  return qk_scale_part8(traits, p, x, sums[0], sums[1], total);
}

#endif
#endif
