// Products of parts with AVX2: 8 rows in the lanes of one vector; of a group of 16, its halves in turn.
//
// One token multiplies parts as they are unpacked. For several tokens the parts of 8 rows are first laid
// out in a panel of a few kilobytes, which all tokens then pass over.
#ifndef QK_PARTS_AVX2_H
#define QK_PARTS_AVX2_H

#include "parts8.h"

#if QK_X86

enum { QK_PANEL_PARTS = 16, QK_PANEL_TOKENS2 = 4, QK_GROUP_TOKENS2 = 2 };

typedef struct {
  qk_part8 parts[QK_PANEL_PARTS];
} qk_panel2;

// What comes later is loaded and added later: left to itself the compiler wants more registers than there are.
#define QK_HOLD(sum) __asm__ volatile("" : "+x"(sum)::"memory")

// A block of activations, for wide codes also in 16 bits.
typedef struct {
  const qk_a8_block *x;
  int16_t wide[32];
} qk_x2;

// Whether products are those of 16-bit codes and activations.
QK_INLINE int qk_takes_words2(qk_traits traits) {
  return traits.codes == QK_CODES_WIDE && !traits.is_vnni;
}

QK_INLINE QK_AVX2 void qk_widen2(qk_traits traits, const qk_a8_block *x, qk_x2 *out) {
  out->x = x;
  if (qk_takes_words2(traits)) {
    QK_UNROLL for (int i = 0; i < 2; i++) {
      const __m128i bytes = _mm_loadu_si128((const __m128i *)x->values + i);
      _mm256_storeu_si256((__m256i *)out->wide + i, _mm256_cvtepi8_epi16(bytes));
    }
    // Seen through the stores, the compiler would make shuffles of the broadcasts that loads do for nothing.
    __asm__ volatile("" : : "r"(out->wide) : "memory");
  }
}

// Four activations of 16 bits, repeated for every row.
QK_INLINE QK_AVX2 __m256i qk_wide_four2(const qk_x2 *x, int g) {
  int64_t four;
  memcpy(&four, x->wide + 4 * g, sizeof four);
  return _mm256_set1_epi64x(four);
}

// Codes to what is multiplied. Wide ones: in q the 16-bit entries of rows 0, 1, 4, 5, in low those of rows
// 2, 3, 6, 7, 4 columns of each.
QK_INLINE QK_AVX2 void qk_entries2(qk_traits traits, qk_part8 *part) {
  if (traits.is_vnni) {
    qk_unsigned_entries8(traits, part);
    return;
  }
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i code = part->q[g];
    if (traits.codes == QK_CODES_WIDE) {
      const __m256i low = _mm256_shuffle_epi8(qk_twice(qk_bytes_of(traits.wide, 0)), code);
      const __m256i high = _mm256_shuffle_epi8(qk_twice(qk_bytes_of(traits.wide, 1)), code);
      part->q[g] = _mm256_unpacklo_epi8(low, high);
      part->low[g] = _mm256_unpackhi_epi8(low, high);
    } else if (traits.table) {
      part->q[g] = qk_look_up(traits.table, code);
    }
  }
}

// The sums of neighbours, those of each half of a first and then of b: what vphaddd does, in half of its time.
QK_INLINE QK_AVX2 __m256i qk_add_pairs2(__m256i a, __m256i b) {
  const __m256 first = _mm256_castsi256_ps(a), last = _mm256_castsi256_ps(b);
  __m256i even = _mm256_castps_si256(_mm256_shuffle_ps(first, last, 0x88));
  // Else the compiler makes that instruction of it.
  __asm__("" : "+x"(even));
  return _mm256_add_epi32(even, _mm256_castps_si256(_mm256_shuffle_ps(first, last, 0xdd)));
}

// The exact products of 8 rows and 32 wide codes. Sums of columns 0, 1 and 2, 3 of a row lie side by side until the
// end.
QK_INLINE QK_AVX2 __m256i qk_wide_products2(const qk_part8 *p, const qk_x2 *x) {
  __m256i outer = _mm256_setzero_si256();
  __m256i inner = _mm256_setzero_si256();
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i four = qk_wide_four2(x, g);
    outer = _mm256_add_epi32(outer, _mm256_madd_epi16(p->q[g], four));
    inner = _mm256_add_epi32(inner, _mm256_madd_epi16(p->low[g], four));
  }
  return qk_add_pairs2(outer, inner);
}

// Whether the scales of halves are multiplied as words with pairs of products, which must be added up anyway.
QK_INLINE int qk_scales_words2(qk_traits traits) { return traits.has_halves && !traits.is_vnni; }

// Makes such scales of integers: s[i] has that of half i twice, zero both, times the offset.
QK_INLINE QK_AVX2 void qk_word_scales2(qk_traits traits, qk_part8 *part) {
  const __m256i both = _mm256_blend_epi16(part->s[0], _mm256_slli_epi32(part->s[1], 16), 0xaa);
  part->zero = _mm256_mullo_epi16(both, _mm256_set1_epi16((int16_t)traits.offset));
  const __m256i order = qk_twice(_mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13));
  QK_UNROLL for (int i = 0; i < 2; i++) { part->s[i] = _mm256_shuffle_epi8(part->s[i], order); }
}

// Takes off what the offset has added to a sum of such products.
QK_INLINE QK_AVX2 __m256i qk_without_offset2(qk_traits traits, const qk_part8 *part, const qk_a8_block *x,
                                             __m256i sum) {
  int32_t halves;
  memcpy(&halves, x->halves, sizeof halves);
  const __m256i more = _mm256_madd_epi16(part->zero, _mm256_set1_epi32(halves));
  return traits.offset == 0 ? sum : _mm256_sub_epi32(sum, more);
}

// What is left to do with a sum: products of words have their scales.
QK_INLINE qk_traits qk_left2(qk_traits traits) {
  traits.has_halves = traits.has_halves && traits.is_vnni;
  return traits;
}

// Adds the products of codes in vectors first ... last - 1 of 8 rows and one token, times words, to sum.
QK_INLINE QK_AVX2 __m256i qk_products2(qk_codes codes, const __m256i q[8], const qk_a8_block *x,
                                       int first, int last, __m256i words, __m256i sum) {
  if (codes == QK_CODES_SIGNED) {
    // |q| * sign(x, q): a pair is at most 2 * 128 * 127, which 16 bits hold.
    QK_UNROLL for (int g = first; g < last; g++) {
      const __m256i signed_x = _mm256_sign_epi8(qk_four(x, g), q[g]);
      const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q[g]), signed_x);
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, words));
    }
    return sum;
  }
  // Pairs of at most 2 * 127 codes: 8 of up to 15 stay within 16 bits (30480), 4 of up to 31 (31496), 2 of up to 63
  // (32004).
  const int most = codes == QK_CODES_6 ? 2 : codes == QK_CODES_5 ? 4 : 8;
  const int run = most < last - first ? most : last - first;
  QK_UNROLL for (int g = first; g < last; g += run) {
    __m256i pairs = _mm256_maddubs_epi16(q[g], qk_four(x, g));
    QK_UNROLL for (int i = 1; i < run; i++) {
      pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(q[g + i], qk_four(x, g + i)));
    }
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, words));
  }
  return sum;
}

QK_INLINE QK_AVX2 __m256 qk_add_part2(qk_traits traits, const qk_part8 *p, const qk_x2 *x,
                                      __m256 total) {
  if (traits.is_vnni) {
    return qk_dot_part8(traits, qk_dot_vnni, p, x->x, total);
  }
  __m256i sums[2];
  if (traits.codes == QK_CODES_WIDE) {
    sums[0] = qk_wide_products2(p, x);
    sums[1] = _mm256_setzero_si256();
  } else if (traits.has_halves) {
    sums[0] = qk_products2(traits.codes, p->q, x->x, 0, 4, p->s[0], _mm256_setzero_si256());
    sums[0] = qk_products2(traits.codes, p->q, x->x, 4, 8, p->s[1], sums[0]);
    sums[0] = qk_without_offset2(traits, p, x->x, sums[0]);
    sums[1] = _mm256_setzero_si256();
  } else {
    qk_starts8(traits, traits.offset, x->x, sums);
    sums[0] = qk_products2(traits.codes, p->q, x->x, 0, 8, _mm256_set1_epi16(1), sums[0]);
  }
  return qk_scale_part8(qk_left2(traits), p, x->x, sums[0], sums[1], total);
}

QK_INLINE qk_traits qk_with_vnni(qk_traits traits) {
  traits.is_vnni = 1;
  return traits;
}

QK_INLINE QK_AVX2 void qk_unpack2(qk_traits traits, qk_place_of *place, qk_factors_of8 *factors8,
                                  const qk_rows8 *rows, size_t blocks, size_t block, int part,
                                  const qk_head8 *head, qk_part8 *out) {
  factors8(head, part, out);
  if (qk_scales_words2(traits)) {
    qk_word_scales2(traits, out);
  }
  qk_codes8(rows, place(blocks, block, part), out->q);
  qk_entries2(traits, out);
}

// Up to 8 rows times one token.
QK_INLINE QK_AVX2 void qk_one_token2(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                     qk_factors_of8 *factors8, const uint8_t *start,
                                     size_t row_bytes, size_t count, size_t blocks,
                                     const qk_a8_block *x, float *y) {
  const qk_rows8 rows = qk_rows_from(start, row_bytes, count);
  __m256 total = _mm256_setzero_ps();
  for (size_t b = 0; b < blocks; b++) {
    qk_prefetch(rows.ahead + 8 * b * traits.bytes, 8 * traits.bytes);
    qk_head8 head;
    head8(&rows, blocks, b, &head);
    QK_UNROLL for (int p = 0; p < traits.parts; p++) {
      qk_part8 part;
      qk_x2 wide_x;
      qk_widen2(traits, x++, &wide_x);
      qk_unpack2(traits, place, factors8, &rows, blocks, b, p, &head, &part);
      total = qk_add_part2(traits, &part, &wide_x, total);
    }
  }
  qk_store_first8(y, count, total);
}

// The sums that are in flight for half of a group.
typedef struct {
  __m256i sum[2];
  __m256i pairs; // of 16 bits
} qk_sums2;

// The codes of columns 4g ... 4g + 3 of half a group.
QK_INLINE QK_AVX2 __m256i qk_group_code2(const qk_rows8 *rows, qk_place at, int g) {
  if (at.is_shared) {
    return qk_shared_code8(rows, at, g);
  }
  const size_t word = 4 * (size_t)(at.is_split ? g % 4 : g);
  const __m256i low = qk_words8(rows, at.low + word);
  const __m256i high = at.high_bits > 0 ? qk_words8(rows, at.high + word) : low;
  return qk_code8(at, low, high, at.has_word ? qk_words8(rows, at.word) : low, g);
}

// Multiplies and adds what codes of columns 4g ... 4g + 3 stand for; of wide ones with VNNI, low are the lower bytes.
QK_INLINE QK_AVX2 void qk_add_entries2(qk_traits traits, const qk_part8 *part, __m256i q, __m256i low, __m256i four,
                                       int g, qk_sums2 *sums) {
  if (traits.is_vnni) {
    const int at = traits.codes == QK_CODES_WIDE ? 0 : g / 4;
    sums->sum[at] = qk_dot_vnni(sums->sum[at], q, four);
    QK_HOLD(sums->sum[at]);
    if (traits.codes == QK_CODES_WIDE) {
      sums->sum[1] = qk_dot_vnni(sums->sum[1], low, four);
      QK_HOLD(sums->sum[1]);
    }
    return;
  }
  const __m256i ones = _mm256_set1_epi16(1);
  if (traits.codes == QK_CODES_SIGNED) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(four, q));
    sums->sum[0] = _mm256_add_epi32(sums->sum[0], _mm256_madd_epi16(pairs, ones));
    QK_HOLD(sums->sum[0]);
    return;
  }
  // As many pairs as 16 bits hold, see qk_products2.
  const int most = traits.codes == QK_CODES_6 ? 2 : traits.codes == QK_CODES_5 ? 4 : 8;
  const int run = traits.has_halves && most > 4 ? 4 : most;
  const __m256i products = _mm256_maddubs_epi16(q, four);
  sums->pairs = g % run == 0 ? products : _mm256_add_epi16(sums->pairs, products);
  QK_HOLD(sums->pairs);
  if (g % run == run - 1) {
    const __m256i words = traits.has_halves ? part->s[g / 4] : ones;
    sums->sum[0] = _mm256_add_epi32(sums->sum[0], _mm256_madd_epi16(sums->pairs, words));
  }
}

// Multiplies the wide codes that columns 4g ... 4g + 3 and those 16 later have in the halves of each byte with some
// tokens, and adds. Sums of columns 0, 1 and 2, 3 of a row lie side by side until the end.
QK_INLINE QK_AVX2 void qk_add_wide2(qk_traits traits, const int tokens, __m256i word, int g,
                                    const qk_x2 x[QK_GROUP_TOKENS2], qk_sums2 sums[QK_GROUP_TOKENS2]) {
  const __m256i mask = _mm256_set1_epi8(15);
  QK_UNROLL for (int j = 0; j < 2; j++) {
    const __m256i code = _mm256_and_si256(j == 0 ? word : _mm256_srli_epi16(word, 4), mask);
    const __m256i low = _mm256_shuffle_epi8(qk_twice(qk_bytes_of(traits.wide, 0)), code);
    const __m256i high = _mm256_shuffle_epi8(qk_twice(qk_bytes_of(traits.wide, 1)), code);
    const __m256i entries[2] = {_mm256_unpacklo_epi8(low, high), _mm256_unpackhi_epi8(low, high)};
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      const __m256i four = qk_wide_four2(x + t, g + 4 * j);
      QK_UNROLL for (int i = 0; i < 2; i++) {
        __m256i *sum = &sums[t].sum[i];
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(entries[i], four));
        QK_HOLD(*sum);
      }
    }
  }
}

QK_INLINE QK_AVX2 void qk_begin2(qk_traits traits, const qk_a8_block *x, qk_sums2 *sums) {
  const int is_wide = traits.codes == QK_CODES_WIDE;
  const int32_t offset = traits.is_vnni ? qk_offset_of(traits) : traits.offset;
  qk_starts8(traits, is_wide || qk_scales_words2(traits) ? 0 : offset, x, sums->sum);
  if (is_wide && traits.is_vnni) {
    sums->sum[1] = _mm256_set1_epi32(-offset * x->sum);
  }
}

// Leaves two sums that add up to the products of the part, or those of its halves.
QK_INLINE QK_AVX2 void qk_end2(qk_traits traits, const qk_part8 *part, const qk_a8_block *x, qk_sums2 *sums) {
  if (qk_scales_words2(traits)) {
    sums->sum[0] = qk_without_offset2(traits, part, x, sums->sum[0]);
  }
  if (traits.codes == QK_CODES_WIDE) {
    sums->sum[0] = traits.is_vnni ? qk_wide_sum8(sums->sum[0], sums->sum[1])
                                  : qk_add_pairs2(sums->sum[0], sums->sum[1]);
    sums->sum[1] = _mm256_setzero_si256();
  }
}

// The sums of one part of half a group and a few tokens, or of the whole. Codes are multiplied as they are loaded, and held
// in that order: 16 registers are few.
QK_INLINE QK_AVX2 void qk_group_part2(qk_traits traits, const int tokens, const qk_rows8 rows[2],
                                      const int first, const int last, qk_place at,
                                      const qk_part8 part[2], const qk_x2 x[QK_GROUP_TOKENS2],
                                      qk_sums2 sums[2][QK_GROUP_TOKENS2]) {
  QK_UNROLL for (int h = first; h < last; h++) {
    QK_UNROLL for (int t = 0; t < tokens; t++) { qk_begin2(traits, x[t].x, &sums[h][t]); }
  }
  if (qk_takes_words2(traits)) {
    QK_UNROLL for (int g = 0; g < 4; g++) {
      QK_UNROLL for (int h = first; h < last; h++) {
        const __m256i word = qk_words8(rows + h, at.low + 4 * (size_t)g);
        qk_add_wide2(traits, tokens, word, g, x, sums[h]);
      }
    }
    return;
  }
  QK_UNROLL for (int g = 0; g < 8; g++) {
    __m256i four[QK_GROUP_TOKENS2];
    QK_UNROLL for (int t = 0; t < tokens; t++) { four[t] = qk_four(x[t].x, g); }
    QK_UNROLL for (int h = first; h < last; h++) {
      const __m256i code = qk_group_code2(rows + h, at, g);
      const __m256i q = traits.is_vnni ? qk_unsigned8(traits, code)
                        : traits.table ? qk_look_up(traits.table, code)
                                       : code;
      const __m256i low = traits.is_vnni && traits.wide ? qk_lower8(traits, code) : q;
      QK_UNROLL for (int t = 0; t < tokens; t++) {
        qk_add_entries2(traits, part + h, q, low, four[t], g, &sums[h][t]);
      }
    }
  }
}

// A group of 16 rows times a few tokens.
QK_INLINE QK_AVX2 void qk_group_tokens2(qk_traits traits, const int tokens, qk_place_of *place,
                                        qk_head_of8 *head8, qk_factors_of8 *factors8,
                                        const uint8_t *group, size_t count, size_t blocks,
                                        const qk_a8_block *x, size_t x_stride, float *y, size_t y_stride) {
  const qk_rows8 rows[2] = {qk_half_group(group, 0), qk_half_group(group, 1)};
  const size_t share = 16 * traits.bytes / (size_t)traits.parts;
  __m256 totals[2][QK_GROUP_TOKENS2];
  QK_UNROLL for (int t = 0; t < tokens; t++) { totals[0][t] = totals[1][t] = _mm256_setzero_ps(); }
  const uint8_t *ahead = group + QK_PARTS_AHEAD;
  for (size_t b = 0; b < blocks; b++) {
    qk_head8 head[2];
    QK_UNROLL for (int h = 0; h < 2; h++) { head8(rows + h, blocks, b, head + h); }
    QK_EACH_PART(p, traits) {
      qk_prefetch_parts(ahead, share);
      ahead += share;
      const qk_place at = place(blocks, b, p);
      qk_x2 each[QK_GROUP_TOKENS2];
      QK_UNROLL for (int t = 0; t < tokens; t++) { qk_widen2(traits, x + (size_t)t * x_stride, each + t); }
      qk_part8 part[2];
      if (qk_scales_words2(traits)) {
        QK_UNROLL for (int h = 0; h < 2; h++) {
          factors8(head + h, p, part + h);
          qk_word_scales2(traits, part + h);
        }
      }
      qk_sums2 sums[2][QK_GROUP_TOKENS2];
      if (tokens == 1) {
        qk_group_part2(traits, tokens, rows, 0, 2, at, part, each, sums);
      } else {
        // For both halves at once there are too few registers.
        qk_group_part2(traits, tokens, rows, 0, 1, at, part, each, sums);
        qk_group_part2(traits, tokens, rows, 1, 2, at, part, each, sums);
      }
      QK_UNROLL for (int h = 0; h < 2; h++) {
        if (!qk_scales_words2(traits)) {
          factors8(head + h, p, part + h);
        }
        QK_UNROLL for (int t = 0; t < tokens; t++) {
          qk_sums2 *sum = &sums[h][t];
          const qk_a8_block *a = x + (size_t)t * x_stride;
          qk_end2(traits, part + h, a, sum);
          totals[h][t] = qk_scale_part8(qk_left2(traits), part + h, a, sum->sum[0], sum->sum[1], totals[h][t]);
        }
      }
      x++;
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    qk_store_first8(y + (size_t)t * y_stride, count, totals[0][t]);
    qk_store_first8(y + (size_t)t * y_stride + 8, count > 8 ? count - 8 : 0, totals[1][t]);
  }
}

// The sums of a part of 8 rows, unpacked, and a few tokens: what is loaded of it is loaded once.
QK_INLINE QK_AVX2 void qk_panel_part2(qk_traits traits, const int tokens, const qk_part8 *part,
                                      const qk_x2 x[QK_PANEL_TOKENS2], qk_sums2 sums[QK_PANEL_TOKENS2]) {
  QK_UNROLL for (int t = 0; t < tokens; t++) { qk_begin2(traits, x[t].x, sums + t); }
  QK_UNROLL for (int g = 0; g < 8; g++) {
    const __m256i q = part->q[g];
    const __m256i low = traits.codes == QK_CODES_WIDE ? part->low[g] : q;
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      if (qk_takes_words2(traits)) {
        const __m256i four = qk_wide_four2(x + t, g);
        sums[t].sum[0] = _mm256_add_epi32(sums[t].sum[0], _mm256_madd_epi16(q, four));
        QK_HOLD(sums[t].sum[0]);
        sums[t].sum[1] = _mm256_add_epi32(sums[t].sum[1], _mm256_madd_epi16(low, four));
        QK_HOLD(sums[t].sum[1]);
      } else {
        qk_add_entries2(traits, part, q, low, qk_four(x[t].x, g), g, sums + t);
      }
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) { qk_end2(traits, part, x[t].x, sums + t); }
}

// What is fetched while a panel is multiplied, little by little: at once it would be more than there are buffers.
typedef struct {
  const uint8_t *at;
  size_t step; // bytes for each part and tile
} qk_next2;

// Adds the products of a panel and a few tokens to y, or stores them if it is the first panel.
QK_INLINE QK_AVX2 void qk_panel_tokens2(qk_traits traits, const int tokens, const qk_panel2 *panel,
                                        size_t parts, const qk_a8_block *x, size_t x_stride, float *y,
                                        size_t y_stride, int is_first, size_t count, qk_next2 *next) {
  __m256 totals[QK_PANEL_TOKENS2];
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    totals[t] = is_first ? _mm256_setzero_ps()
                         : _mm256_maskload_ps(y + (size_t)t * y_stride, qk_mask8(count));
  }
  for (size_t p = 0; p < parts; p++, next->at += next->step) {
    qk_prefetch_parts(next->at, 128);
    const qk_part8 *part = panel->parts + p;
    qk_x2 each[QK_PANEL_TOKENS2];
    QK_UNROLL for (int t = 0; t < tokens; t++) { qk_widen2(traits, x + (size_t)t * x_stride + p, each + t); }
    if (traits.codes == QK_CODES_6) {
      // Every second product ends a pair: what the others keep for all tokens costs more than to load codes again.
      QK_UNROLL for (int t = 0; t < tokens; t++) { totals[t] = qk_add_part2(traits, part, each + t, totals[t]); }
      continue;
    }
    qk_sums2 sums[QK_PANEL_TOKENS2];
    qk_panel_part2(traits, tokens, part, each, sums);
    QK_UNROLL for (int t = 0; t < tokens; t++) {
      totals[t] = qk_scale_part8(qk_left2(traits), part, each[t].x, sums[t].sum[0], sums[t].sum[1], totals[t]);
    }
  }
  QK_UNROLL for (int t = 0; t < tokens; t++) {
    qk_store_first8(y + (size_t)t * y_stride, count, totals[t]);
  }
}

// Lays blocks first ... first + filled - 1 of 8 rows out.
QK_INLINE QK_AVX2 void qk_fill_panel2(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                      qk_factors_of8 *factors8, const qk_rows8 *rows, size_t blocks,
                                      size_t first, size_t filled, qk_panel2 *panel) {
  for (size_t b = 0; b < filled; b++) {
    qk_head8 head;
    if (!rows->is_group) {
      qk_prefetch(rows->ahead + 8 * (first + b) * traits.bytes, 8 * traits.bytes);
    }
    head8(rows, blocks, first + b, &head);
    QK_EACH_PART(p, traits) {
      qk_unpack2(traits, place, factors8, rows, blocks, first + b, p, &head,
                 panel->parts + b * (size_t)traits.parts + (size_t)p);
    }
  }
}

// The parts of a panel times several tokens.
QK_INLINE QK_AVX2 void qk_panel_tiles2(qk_traits traits, const qk_panel2 *panel, size_t parts,
                                       const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                                       size_t y_stride, int is_first, size_t count, qk_next2 *next) {
  while (tokens > 0) {
    const size_t step = tokens >= QK_PANEL_TOKENS2 ? QK_PANEL_TOKENS2 : tokens > 1 ? 2 : 1;
    if (step == QK_PANEL_TOKENS2) {
      qk_panel_tokens2(traits, QK_PANEL_TOKENS2, panel, parts, x, x_stride, y, y_stride, is_first, count, next);
    } else if (step == 2) {
      qk_panel_tokens2(traits, 2, panel, parts, x, x_stride, y, y_stride, is_first, count, next);
    } else {
      qk_panel_tokens2(traits, 1, panel, parts, x, x_stride, y, y_stride, is_first, count, next);
    }
    tokens -= step;
    x += step * x_stride;
    y += step * y_stride;
  }
}

// Up to 8 rows, or the halves of a group of up to 16, times several tokens: the halves in turn, so that memory has something
// to give all the time.
QK_INLINE QK_AVX2 void qk_many_tokens2(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                       qk_factors_of8 *factors8, const qk_rows8 *eights, size_t count,
                                       size_t blocks, const qk_a8_block *x, size_t x_stride,
                                       size_t tokens, float *y, size_t y_stride) {
  const size_t step = QK_PANEL_PARTS / (size_t)traits.parts;
  const size_t parts = (size_t)traits.parts;
  qk_panel2 panel;
  for (size_t from = 0; from < blocks; from += step) {
    const size_t filled = blocks - from < step ? blocks - from : step;
    qk_next2 next = {eights->row[0], 0};
    if (eights->is_group) {
      // As much as this panel has, behind it, in all tiles of both halves.
      const size_t tiles = (tokens + QK_PANEL_TOKENS2 - 1) / QK_PANEL_TOKENS2 * 2;
      next = (qk_next2){eights->group + (from + filled) * 16 * traits.bytes, 16 * traits.bytes / (parts * tiles) + 1};
    }
    for (size_t first = 0; first < count; first += 8) {
      qk_fill_panel2(traits, place, head8, factors8, eights + first / 8, blocks, from, filled, &panel);
      qk_panel_tiles2(traits, &panel, filled * parts, x + from * parts, x_stride, tokens, y + first, y_stride,
                      from == 0, count - first, &next);
    }
  }
}

// Stores zeros where rows have no columns.
QK_INLINE void qk_no_columns(size_t rows, size_t tokens, float *y, size_t y_stride) {
  for (size_t t = 0; t < tokens; t++) {
    memset(y + t * y_stride, 0, rows * sizeof(float));
  }
}

QK_INLINE QK_AVX2 void qk_matmul_parts2(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                        qk_factors_of8 *factors8, const uint8_t *weights,
                                        size_t row_bytes, size_t rows, size_t columns,
                                        const qk_a8_block *x, size_t x_stride, size_t tokens,
                                        float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  if (blocks == 0) {
    qk_no_columns(rows, tokens, y, y_stride);
    return;
  }
  for (size_t r = 0; r < rows; r += 8) {
    const size_t count = rows - r < 8 ? rows - r : 8;
    const uint8_t *start = weights + r * row_bytes;
    if (tokens == 1) {
      qk_one_token2(traits, place, head8, factors8, start, row_bytes, count, blocks, x, y + r);
    } else {
      const qk_rows8 eight = qk_rows_from(start, row_bytes, count);
      qk_many_tokens2(traits, place, head8, factors8, &eight, count, blocks, x, x_stride, tokens,
                      y + r, y_stride);
    }
  }
}

// qk_group_tokens2 of a format and a number of tokens.
typedef void qk_group_tile2(const uint8_t *group, size_t count, size_t blocks, const qk_a8_block *x,
                            size_t x_stride, float *y, size_t y_stride);

// The same of interleaved rows.
QK_INLINE QK_AVX2 void qk_matmul_groups2(qk_traits traits, qk_place_of *place, qk_head_of8 *head8,
                                         qk_factors_of8 *factors8,
                                         qk_group_tile2 *const tiles[QK_GROUP_TOKENS2],
                                         const uint8_t *weights,
                                         size_t row_bytes, size_t rows, size_t columns,
                                         const qk_a8_block *x, size_t x_stride, size_t tokens,
                                         float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  if (blocks == 0) {
    qk_no_columns(rows, tokens, y, y_stride);
    return;
  }
  for (size_t r = 0; r < rows; r += 16) {
    const size_t count = rows - r < 16 ? rows - r : 16;
    const uint8_t *group = weights + r * row_bytes;
    if (tokens <= 2 * QK_GROUP_TOKENS2) {
      // What the first tokens read the others find in a cache.
      for (size_t t = 0; t < tokens; t += QK_GROUP_TOKENS2) {
        tiles[t + 1 < tokens](group, count, blocks, x + t * x_stride, x_stride, y + t * y_stride + r,
                              y_stride);
      }
      continue;
    }
    const qk_rows8 halves[2] = {qk_half_group(group, 0), qk_half_group(group, 1)};
    qk_many_tokens2(traits, place, head8, factors8, halves, count, blocks, x, x_stride, tokens, y + r, y_stride);
  }
}

// Functions by themselves: in one, the compiler makes the constants of a loop anew in each turn of another.
#define QK_GROUP_TILE2(name, tokens, traits, place)                                                 \
  static __attribute__((noinline)) QK_AVX2 void name##_##tokens(                                    \
      const uint8_t *group, size_t count, size_t blocks, const qk_a8_block *x, size_t x_stride,     \
      float *y, size_t y_stride) {                                                                  \
    qk_group_tokens2(traits, tokens, place, head8, factors8, group, count, blocks, x, x_stride, y,  \
                     y_stride);                                                                     \
  }

#define QK_GROUPS_TWIN2(name, traits, place)                                                        \
  QK_GROUP_TILE2(name, 1, traits, place)                                                            \
  QK_GROUP_TILE2(name, 2, traits, place)                                                            \
  static QK_AVX2 void name(const void *weights, size_t row_bytes, size_t rows, size_t columns,      \
                           const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,          \
                           size_t y_stride) {                                                       \
    qk_group_tile2 *const tiles[QK_GROUP_TOKENS2] = {name##_1, name##_2};                           \
    qk_matmul_groups2(traits, place, head8, factors8, tiles, weights, row_bytes, rows, columns, x,  \
                      x_stride, tokens, y, y_stride);                                               \
  }

#endif
#endif
