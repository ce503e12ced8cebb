// Products of parts with NEON: 4 rows at a time, whose sums lie in the lanes of one vector, as in the other twins exact
// in integers.
//
// The codes of a part of 4 rows are 8 vectors of 16 bytes, in one of three forms:
//   rows   vector 2r + i: codes 16i ... 16i + 15 of row r; what belongs to a row is added across lanes
//   words  vector g: codes 4g ... 4g + 3 of each row, met by 4 activations; nothing is added across lanes
//   pairs  vector 2i + j: codes 8i ... 8i + 7 of rows 2j and 2j + 1, met by 8 activations of two tokens
// Rows by themselves unpack to rows, groups to words. Up to QK_TOKENS_N tokens multiply parts so, as they are unpacked.
// For more, the parts of 16 rows are first laid out in a panel, in the form that suits the set: rows without dotprod,
// words with it, pairs with i8mm.
//
// The sets differ in single instructions, which are assembly: an intrinsic of another set cannot be inlined into
// loops that are compiled for all.
#ifndef QK_PARTS_NEON_H
#define QK_PARTS_NEON_H

#include "parts.h"

#if QK_ARM

enum { QK_ROWS_N = 4, QK_PANEL_ROWS_N = 16, QK_PANEL_PARTS_N = 16, QK_TOKENS_N = 4 };

typedef enum { QK_FORM_ROWS, QK_FORM_WORDS, QK_FORM_PAIRS } qk_form;

// 4 rows by themselves, or a quarter of a group of 16 interleaved ones (parts_groups.h). Which of them is known when
// compiled.
typedef struct {
  int is_group;
  const uint8_t *row[QK_ROWS_N]; // rows by themselves
  const uint8_t *group;
  size_t quarter;
} qk_rows4;

// What a format reads once for a block of 4 rows: each fills and reads what it likes.
typedef struct {
  float32x4_t d, m;
  uint32x4_t w[4];
} qk_head4;

// The same part of 4 rows; what is not used is not filled. Factors of pairs of rows stand twice, for two tokens: those
// of rows 0 and 1 in the first place, of 2 and 3 in the second. In other forms all 4 are in the first.
typedef struct {
  int8x16_t q[8];
  float32x4_t d[2], m[2];
  int32x4_t zero[2], s[2][2], o[2][2]; // s and o: half, place
} qk_part4;

typedef void qk_head_of4(const qk_rows4 *rows, size_t blocks, size_t block, qk_head4 *head);
// Sets the factors of a part that the format has, in the first places.
typedef void qk_factors_of4(const qk_head4 *head, int part, qk_part4 *out);

// ---- What formats read of 4 rows --------

// 4 bytes of each row at this offset.
QK_INLINE uint32x4_t qk_words4(const qk_rows4 *rows, size_t offset) {
  if (rows->is_group) {
    return vreinterpretq_u32_u8(vld1q_u8(rows->group + 16 * offset + 16 * rows->quarter));
  }
  uint32_t w[QK_ROWS_N];
  QK_UNROLL for (int r = 0; r < QK_ROWS_N; r++) { memcpy(w + r, rows->row[r] + offset, 4); }
  return (uint32x4_t){w[0], w[1], w[2], w[3]};
}

// The byte of each row at this offset; of a group, where a unit of one byte is.
QK_INLINE uint32x4_t qk_bytes4(const qk_rows4 *rows, size_t offset) {
  uint8_t b[QK_ROWS_N];
  QK_UNROLL for (int r = 0; r < QK_ROWS_N; r++) {
    b[r] = rows->is_group ? rows->group[16 * offset + 4 * rows->quarter + (size_t)r] : rows->row[r][offset];
  }
  return (uint32x4_t){b[0], b[1], b[2], b[3]};
}

// The floats of each row at this offset.
QK_INLINE float32x4_t qk_floats4(const qk_rows4 *rows, size_t offset) {
  return vreinterpretq_f32_u32(qk_words4(rows, offset));
}

// The half-precision numbers at this offset of each row; of a group, where a unit of two bytes is.
QK_INLINE float32x4_t qk_half_numbers4(const qk_rows4 *rows, size_t offset) {
  uint16x4_t halves;
  if (rows->is_group) {
    halves = vreinterpret_u16_u8(vld1_u8(rows->group + 16 * offset + 8 * rows->quarter));
  } else {
    halves = (uint16x4_t){qk_load_u16(rows->row[0] + offset), qk_load_u16(rows->row[1] + offset),
                          qk_load_u16(rows->row[2] + offset), qk_load_u16(rows->row[3] + offset)};
  }
  return vcvt_f32_f16(vreinterpret_f16_u16(halves));
}

// The half-precision numbers in the lower halves of 4 words, in the upper ones.
QK_INLINE float32x4_t qk_low_halves4(uint32x4_t words) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(words)));
}

QK_INLINE float32x4_t qk_high_halves4(uint32x4_t words) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vshrn_n_u32(words, 16)));
}

// ---- Codes --------

// Each byte moved by `shift` bits, up if it is positive, and what stays of `mask`.
QK_INLINE uint8x16_t qk_moved_n(uint8x16_t bytes, int shift, int mask) {
  if (shift > 0) {
    bytes = bytes << (uint8_t)shift;
  } else if (shift < 0) {
    bytes = bytes >> (uint8_t)-shift;
  }
  const int left = shift > 0 ? 255 << shift & 255 : 255 >> -shift;
  return (mask & left) == left ? bytes : vandq_u8(bytes, vdupq_n_u8((uint8_t)mask));
}

// Codes from the bytes that have their lower and their upper bits.
QK_INLINE uint8x16_t qk_join_n(qk_place at, uint8x16_t low, int low_shift, uint8x16_t high) {
  uint8x16_t code = qk_moved_n(low, -low_shift, (1 << at.low_bits) - 1);
  if (at.high_bits > 0) {
    const int mask = ((1 << at.high_bits) - 1) << at.low_bits;
    code = vorrq_u8(code, qk_moved_n(high, at.low_bits - at.high_shift, mask));
  }
  return at.has_word ? vorrq_u8(code, high) : code;
}

// Bit 16i + k of a word as 16 in byte k.
QK_INLINE uint8x16_t qk_row_bits_n(const uint8_t *word, int i) {
  const uint8x16_t bits = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t bytes = vcombine_u8(vdup_n_u8(word[2 * i]), vdup_n_u8(word[2 * i + 1]));
  return vandq_u8(vtstq_u8(bytes, bits), vdupq_n_u8(16));
}

// Bit 4g + j of each of 4 words as 16 in byte j.
QK_INLINE uint8x16_t qk_word_bits_n(uint8x16_t words, int g) {
  const uint8_t b = (uint8_t)(g / 2);
  const uint8x16_t lines = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  const uint32x4_t bits = vdupq_n_u32(g % 2 == 0 ? 0x08040201u : 0x80402010u);
  const uint8x16_t spread = vqtbl1q_u8(words, vaddq_u8(lines, vdupq_n_u8(b)));
  return vandq_u8(vtstq_u8(spread, vreinterpretq_u8_u32(bits)), vdupq_n_u8(16));
}

// Codes of one row as rows.
QK_INLINE uint8x16_t qk_row_codes_n(qk_place at, const uint8_t *row, int i) {
  const size_t half = 16 * (size_t)i;
  const uint8x16_t low = vld1q_u8(row + at.low + (at.is_split ? 0 : half));
  uint8x16_t high = vdupq_n_u8(0);
  if (at.high_bits > 0) high = vld1q_u8(row + at.high + half);
  if (at.has_word) high = qk_row_bits_n(row + at.word, i);
  return qk_join_n(at, low, at.is_split ? 4 * i : at.low_shift, high);
}

// Codes 4g ... 4g + 3 of a shared place of a quarter of a group, as words.
QK_INLINE uint8x16_t qk_shared_codes_n(qk_place at, const uint8_t *quarter, int g) {
  const uint8_t *words = quarter + 16 * (at.low + (size_t)(g / 4 * 12));
  if (g % 4 < 3) {
    return qk_moved_n(vld1q_u8(words + 64 * (size_t)(g % 4)), 0, 63);
  }
  const uint8x16_t code = qk_moved_n(vld1q_u8(words), -6, 3);
  return vorrq_u8(vorrq_u8(code, qk_moved_n(vld1q_u8(words + 64), -4, 12)),
                  qk_moved_n(vld1q_u8(words + 128), -2, 48));
}

// Codes of a quarter of a group as words.
QK_INLINE uint8x16_t qk_word_codes_n(qk_place at, const qk_rows4 *rows, int g) {
  const uint8_t *quarter = rows->group + 16 * rows->quarter;
  if (at.is_shared) {
    return qk_shared_codes_n(at, quarter, g);
  }
  const size_t word = 4 * (size_t)(at.is_split ? g % 4 : g);
  uint8x16_t high = vdupq_n_u8(0);
  if (at.high_bits > 0) high = vld1q_u8(quarter + 16 * (at.high + word));
  if (at.has_word) high = qk_word_bits_n(vld1q_u8(quarter + 16 * at.word), g);
  return qk_join_n(at, vld1q_u8(quarter + 16 * (at.low + word)), at.is_split ? g / 4 * 4 : at.low_shift, high);
}

// Entries of a wide table are 256 times the one plus the other plus 128.
typedef struct {
  int8x16_t q, low;
} qk_tables_n;

QK_INLINE qk_tables_n qk_tables_of(qk_traits traits) {
  int8_t upper[16] = {0}, lower[16] = {0};
  QK_UNROLL for (int k = 0; k < 16; k++) {
    if (traits.wide) {
      // From -32640 to 32767.
      const int32_t entry = traits.wide[k] - 128;
      lower[k] = (int8_t)(entry & 255);
      upper[k] = (int8_t)((entry - lower[k]) / 256);
    } else if (traits.table) {
      upper[k] = traits.table[k];
    }
  }
  return (qk_tables_n){vld1q_s8(upper), vld1q_s8(lower)};
}

// Whether the offset of codes is taken off the sums of products instead.
QK_INLINE int qk_is_raw(qk_traits traits) { return traits.offset > 0 && !traits.has_halves; }

// Codes as they are multiplied: signed; where is_raw says so, the offset is left to the sums.
QK_INLINE void qk_codes_n(qk_traits traits, const int is_raw, qk_place at, const qk_rows4 *rows,
                          int8x16_t q[8], int8x16_t low[8]) {
  const qk_tables_n tables = qk_tables_of(traits);
  QK_UNROLL for (int i = 0; i < 8; i++) {
    const uint8x16_t code =
        rows->is_group ? qk_word_codes_n(at, rows, i) : qk_row_codes_n(at, rows->row[i / 2], i % 2);
    if (traits.wide || traits.table) {
      q[i] = vqtbl1q_s8(tables.q, code);
      if (traits.wide) low[i] = vqtbl1q_s8(tables.low, code);
    } else if (traits.codes == QK_CODES_SIGNED) {
      q[i] = vreinterpretq_s8_u8(at.is_biased ? veorq_u8(code, vdupq_n_u8(128)) : code);
    } else {
      q[i] = vreinterpretq_s8_u8(code);
      if (traits.offset > 0 && !is_raw) q[i] = vsubq_s8(q[i], vdupq_n_s8((int8_t)traits.offset));
    }
  }
}

// ---- Activations --------

// A block of one token, its numbers in all lanes; or of two tokens for pairs of rows, 8 values of each in a vector.
typedef struct {
  int8x16_t v[4]; // 2 of one token
  float32x4_t scale;
  int32x4_t sum, first; // of all values, of the first 16
} qk_x_n;

QK_INLINE qk_x_n qk_one_token_n(qk_traits traits, const qk_a8_block *x) {
  qk_x_n out;
  out.v[0] = vld1q_s8(x->values), out.v[1] = vld1q_s8(x->values + 16);
  out.scale = vdupq_n_f32(x->scale), out.sum = vdupq_n_s32(x->sum);
  if (traits.has_minimum_halves) out.first = vdupq_n_s32(vaddlvq_s8(out.v[0]));
  return out;
}

QK_INLINE int8x16_t qk_first_eights(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

QK_INLINE int8x16_t qk_last_eights(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

QK_INLINE qk_x_n qk_two_tokens_n(qk_traits traits, const qk_a8_block *a, const qk_a8_block *b) {
  const qk_x_n x = qk_one_token_n(traits, a), z = qk_one_token_n(traits, b);
  qk_x_n out;
  QK_UNROLL for (int i = 0; i < 2; i++) {
    out.v[2 * i] = qk_first_eights(x.v[i], z.v[i]), out.v[2 * i + 1] = qk_last_eights(x.v[i], z.v[i]);
  }
  out.scale = vzip1q_f32(x.scale, z.scale), out.sum = vzip1q_s32(x.sum, z.sum);
  if (traits.has_minimum_halves) out.first = vzip1q_s32(x.first, z.first);
  return out;
}

// ---- Products --------

// sum + 4 products of signed bytes in each lane.
QK_INLINE int32x4_t qk_dot_n(int32x4_t sum, int8x16_t a, int8x16_t b) {
  __asm__(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
  return sum;
}

// The same with 4 bytes of b, those of a lane.
QK_INLINE int32x4_t qk_dot_lane_n(int32x4_t sum, int8x16_t a, int8x16_t b, int lane) {
#define QK_LANE(n) \
  __asm__(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.4b[" #n "]" : "+w"(sum) : "w"(a), "w"(b))
  switch (lane) {
  case 0: QK_LANE(0); break;
  case 1: QK_LANE(1); break;
  case 2: QK_LANE(2); break;
  default: QK_LANE(3);
  }
#undef QK_LANE
  return sum;
}

// sum + products of 2 rows of 8 signed bytes and 2 columns of 8.
QK_INLINE int32x4_t qk_matrix_n(int32x4_t sum, int8x16_t a, int8x16_t b) {
  __asm__(".arch_extension i8mm\n\tsmmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
  return sum;
}

// 4 bytes of a lane in all lanes.
QK_INLINE int8x16_t qk_lane_n(int8x16_t x, int lane) {
  const int32x4_t words = vreinterpretq_s32_s8(x);
  switch (lane) {
  case 0: return vreinterpretq_s8_s32(vdupq_laneq_s32(words, 0));
  case 1: return vreinterpretq_s8_s32(vdupq_laneq_s32(words, 1));
  case 2: return vreinterpretq_s8_s32(vdupq_laneq_s32(words, 2));
  default: return vreinterpretq_s8_s32(vdupq_laneq_s32(words, 3));
  }
}

// Codes of at most 6 bits: 8 products fit 16 bits. Of others 2 do: 2 * 128 * 127.
QK_INLINE int qk_is_small(qk_traits traits) { return traits.codes <= QK_CODES_6; }

// Codes as rows, halves first ... last of a part.
QK_INLINE int32x4_t qk_rows_products_n(qk_traits traits, const int set, const int8x16_t q[8],
                                       const qk_x_n *x, const int first, const int last) {
  int32x4_t sums[QK_ROWS_N];
  QK_UNROLL for (int r = 0; r < QK_ROWS_N; r++) {
    sums[r] = vdupq_n_s32(0);
    int16x8_t products = vdupq_n_s16(0);
    QK_UNROLL for (int i = first; i <= last; i++) {
      const int8x16_t codes = q[2 * r + i];
      if (set >= QK_ISA_NEON_DOT) {
        sums[r] = qk_dot_n(sums[r], codes, x->v[i]);
        continue;
      }
      products = vmlal_s8(products, vget_low_s8(codes), vget_low_s8(x->v[i]));
      products = vmlal_high_s8(products, codes, x->v[i]);
      if (!qk_is_small(traits) || i == last) {
        sums[r] = vpadalq_s16(sums[r], products);
        products = vdupq_n_s16(0);
      }
    }
  }
  return vpaddq_s32(vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3]));
}

// The same with codes as words.
QK_INLINE int32x4_t qk_words_products_n(qk_traits traits, const int set, const int8x16_t q[8],
                                        const qk_x_n *x, const int first, const int last) {
  int32x4_t sum = vdupq_n_s32(0), low = sum, high = sum;
  int16x8_t lower = vdupq_n_s16(0), upper = lower; // of rows 0 and 1, of 2 and 3
  QK_UNROLL for (int g = 4 * first; g < 4 * last + 4; g++) {
    if (set >= QK_ISA_NEON_DOT) {
      sum = qk_dot_lane_n(sum, q[g], x->v[g / 4], g % 4);
      continue;
    }
    const int8x16_t four = qk_lane_n(x->v[g / 4], g % 4);
    lower = vmlal_s8(lower, vget_low_s8(q[g]), vget_low_s8(four));
    upper = vmlal_high_s8(upper, q[g], four);
    if ((!qk_is_small(traits) && g % 2 == 1) || g == 4 * last + 3) {
      low = vpadalq_s16(low, lower), high = vpadalq_s16(high, upper);
      lower = vdupq_n_s16(0), upper = lower;
    }
  }
  return set >= QK_ISA_NEON_DOT ? sum : vpaddq_s32(low, high);
}

// The same of rows 2j and 2j + 1 and two tokens.
QK_INLINE int32x4_t qk_pairs_products_n(const int8x16_t q[8], const int j, const qk_x_n *x, const int first,
                                        const int last) {
  int32x4_t sum = vdupq_n_s32(0);
  QK_UNROLL for (int i = 2 * first; i < 2 * last + 2; i++) { sum = qk_matrix_n(sum, q[2 * i + j], x->v[i]); }
  return sum;
}

QK_INLINE int32x4_t qk_products_n(qk_traits traits, const int set, const qk_form form, const int8x16_t q[8],
                                  const int j, const qk_x_n *x, const int first, const int last) {
  switch (form) {
  case QK_FORM_ROWS: return qk_rows_products_n(traits, set, q, x, first, last);
  case QK_FORM_WORDS: return qk_words_products_n(traits, set, q, x, first, last);
  default: return qk_pairs_products_n(q, j, x, first, last);
  }
}

// Adds one part of 4 rows times a token, or of rows 2j and 2j + 1 times two, to the totals.
QK_INLINE float32x4_t qk_add_part_n(qk_traits traits, const int set, const qk_form form, const int is_raw,
                                    const qk_part4 *p, const int8x16_t low[8], const int j, const qk_x_n *x,
                                    float32x4_t total) {
  int32x4_t products;
  if (traits.has_halves) {
    products = vmulq_s32(qk_products_n(traits, set, form, p->q, j, x, 0, 0), p->s[0][j]);
    products = vmlaq_s32(products, qk_products_n(traits, set, form, p->q, j, x, 1, 1), p->s[1][j]);
  } else {
    products = qk_products_n(traits, set, form, p->q, j, x, 0, 1);
  }
  if (traits.wide) {
    products = vaddq_s32(vshlq_n_s32(products, 8), qk_products_n(traits, set, form, low, j, x, 0, 1));
    products = vaddq_s32(products, vshlq_n_s32(x->sum, 7));
  }
  if (is_raw) products = vmlaq_n_s32(products, x->sum, -traits.offset);
  if (traits.has_zero) products = vmlsq_s32(products, p->zero[j], x->sum);
  total = vfmaq_f32(total, vcvtq_f32_s32(products), vmulq_f32(p->d[j], x->scale));
  if (traits.has_minimum_halves) {
    const int32x4_t last = vsubq_s32(x->sum, x->first);
    const int32x4_t sum = vmlaq_s32(vmulq_s32(p->o[0][j], x->first), p->o[1][j], last);
    total = vfmaq_f32(total, p->m[j], vmulq_f32(vcvtq_f32_s32(sum), x->scale));
  } else if (traits.has_minimum) {
    total = vfmaq_f32(total, p->m[j], vmulq_f32(vcvtq_f32_s32(x->sum), x->scale));
  }
  return total;
}

// ---- Few tokens --------

// What a format says of itself. One by one, not as a structure: so they are known before anything is inlined.
#define QK_FORMAT_N qk_place_of *place_of, qk_head_of4 *head_of, qk_factors_of4 *factors_of
#define QK_OF_FORMAT place_of, head_of, factors_of

QK_INLINE void qk_unpack_n(qk_traits traits, const int is_raw, qk_place_of *place_of,
                           qk_factors_of4 *factors_of, const qk_rows4 *rows,
                           const qk_head4 *head, size_t blocks, size_t block, int part, qk_part4 *out,
                           int8x16_t low[8]) {
  factors_of(head, part, out);
  qk_codes_n(traits, is_raw, place_of(blocks, block, part), rows, out->q, low);
}

// Activations of a few tokens, block 0 of each; beyond the last they are repeated.
typedef const qk_a8_block *qk_few_x[QK_TOKENS_N];

// Blocks from ... to of 4 rows times a few tokens.
QK_INLINE void qk_few_n(qk_traits traits, const int set, const int width, QK_FORMAT_N, const qk_rows4 *rows,
                        size_t blocks, size_t from, size_t to, const qk_few_x x,
                        float32x4_t totals[QK_TOKENS_N]) {
  const int is_raw = qk_is_raw(traits);
  size_t place = from * (size_t)traits.parts;
  for (size_t b = from; b < to; b++) {
    qk_head4 head;
    head_of(rows, blocks, b, &head);
    QK_UNROLL for (int p = 0; p < traits.parts; p++, place++) {
      qk_part4 part;
      int8x16_t low[8];
      qk_unpack_n(traits, is_raw, place_of, factors_of, rows, &head, blocks, b, p, &part, low);
      QK_UNROLL for (int t = 0; t < width; t++) {
        const qk_x_n one = qk_one_token_n(traits, x[t] + place);
        totals[t] = qk_add_part_n(traits, set, rows->is_group ? QK_FORM_WORDS : QK_FORM_ROWS, is_raw, &part,
                                  low, 0, &one, totals[t]);
      }
    }
  }
}

QK_INLINE float32x4_t qk_load_n(const float *y, size_t count) {
  if (count >= QK_ROWS_N) return vld1q_f32(y);
  float four[QK_ROWS_N] = {0};
  memcpy(four, y, count * sizeof *y);
  return vld1q_f32(four);
}

// The first count of 4.
QK_INLINE void qk_store_n(float *y, float32x4_t total, size_t count) {
  if (count >= QK_ROWS_N) {
    vst1q_f32(y, total);
    return;
  }
  float four[QK_ROWS_N];
  vst1q_f32(four, total);
  memcpy(y, four, count * sizeof *y);
}

// Rows from r on, by themselves; beyond the last they repeat it, and their results are not stored.
QK_INLINE qk_rows4 qk_rows_at(const uint8_t *weights, size_t row_bytes, size_t r, size_t rows) {
  qk_rows4 out = {.is_group = 0};
  for (size_t i = 0; i < QK_ROWS_N; i++) {
    out.row[i] = weights + (r + i < rows ? r + i : rows - 1) * row_bytes;
  }
  return out;
}

QK_INLINE void qk_few_rows_n(qk_traits traits, const int set, const int width, QK_FORMAT_N,
                             const uint8_t *weights, size_t row_bytes, size_t rows, size_t blocks,
                             const qk_few_x x, size_t tokens, float *y, size_t y_stride) {
  for (size_t r = 0; r < rows; r += QK_ROWS_N) {
    const qk_rows4 four = qk_rows_at(weights, row_bytes, r, rows);
    float32x4_t totals[QK_TOKENS_N];
    QK_UNROLL for (int t = 0; t < width; t++) { totals[t] = vdupq_n_f32(0); }
    qk_few_n(traits, set, width, QK_OF_FORMAT, &four, blocks, 0, blocks, x, totals);
    QK_UNROLL for (size_t t = 0; t < (size_t)width; t++) {
      if (t < tokens) qk_store_n(y + t * y_stride + r, totals[t], rows - r);
    }
  }
}

// A group is read in stretches of 8 parts, which stay in the first-level cache for its four quarters.
QK_INLINE void qk_few_groups_n(qk_traits traits, const int set, const int width, QK_FORMAT_N,
                               const uint8_t *weights, size_t row_bytes, size_t rows, size_t blocks,
                               const qk_few_x x, size_t tokens, float *y, size_t y_stride) {
  const size_t step = 8 / (size_t)traits.parts;
  for (size_t r = 0; r < rows; r += QK_PANEL_ROWS_N) {
    float32x4_t sums[4][QK_TOKENS_N];
    QK_UNROLL for (int i = 0; i < 4 * width; i++) { sums[i / width][i % width] = vdupq_n_f32(0); }
    for (size_t from = 0; from < blocks; from += step) {
      const size_t to = blocks - from < step ? blocks : from + step;
      for (size_t quarter = 0; quarter < 4; quarter++) {
        const qk_rows4 four = {.is_group = 1, .group = weights + r * row_bytes, .quarter = quarter};
        qk_few_n(traits, set, width, QK_OF_FORMAT, &four, blocks, from, to, x, sums[quarter]);
      }
    }
    for (size_t quarter = 0; quarter < 4 && r + QK_ROWS_N * quarter < rows; quarter++) {
      const size_t place = r + QK_ROWS_N * quarter;
      for (size_t t = 0; t < tokens; t++) {
        qk_store_n(y + t * y_stride + place, sums[quarter][t], rows - place);
      }
    }
  }
}

#include "parts_panel_neon.h"

// Rows, or groups of them, times any number of tokens.
QK_INLINE void qk_matmul_n(qk_traits traits, const int set, const int is_group, QK_FORMAT_N,
                           const uint8_t *weights, size_t row_bytes, size_t rows, size_t columns,
                           const qk_a8_block *x, size_t x_stride, size_t tokens, float *y, size_t y_stride) {
  const size_t blocks = columns / 32 / (size_t)traits.parts;
  if (blocks == 0 || tokens == 0) {
    for (size_t t = 0; t < tokens; t++) memset(y + t * y_stride, 0, rows * sizeof *y);
    return;
  }
  // The matrix products of i8mm gain nothing before a panel does: its twin leaves few tokens to that for dotprod.
  if (set != QK_ISA_NEON_I8MM && tokens <= QK_TOKENS_N) {
    qk_few_x each;
    for (size_t t = 0; t < QK_TOKENS_N; t++) each[t] = x + (t < tokens ? t : tokens - 1) * x_stride;
#define QK_FEW(width)                                                                                          \
  if (is_group) {                                                                                              \
    qk_few_groups_n(traits, set, width, QK_OF_FORMAT, weights, row_bytes, rows, blocks, each, tokens, y, y_stride);       \
  } else {                                                                                                     \
    qk_few_rows_n(traits, set, width, QK_OF_FORMAT, weights, row_bytes, rows, blocks, each, tokens, y, y_stride);         \
  }
    if (tokens <= 1) {
      QK_FEW(1)
    } else if (tokens == 2) {
      QK_FEW(2)
    } else {
      QK_FEW(4)
    }
#undef QK_FEW
    return;
  }
  qk_many_n(traits, set, is_group, QK_OF_FORMAT, weights, row_bytes, rows, blocks, x, x_stride, tokens, y, y_stride);
}

#define QK_A8_PARAMETERS                                                                                       \
  const void *weights, size_t row_bytes, size_t rows, size_t columns, const qk_a8_block *x, size_t x_stride,   \
      size_t tokens, float *y, size_t y_stride
#define QK_A8_ARGUMENTS weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride

// Twins of the product `name`, of rows or of groups, from what a file calls `format`_place, _head4, ...
#define QK_TWINS_N(storage, name, traits, is_group, ...)                                                       \
  storage void name##_neon(QK_A8_PARAMETERS) {                                                                 \
    qk_matmul_n(traits, QK_ISA_NEON, is_group, __VA_ARGS__, QK_A8_ARGUMENTS);                   \
  }                                                                                                            \
  storage void name##_neondot(QK_A8_PARAMETERS) {                                                              \
    qk_matmul_n(traits, QK_ISA_NEON_DOT, is_group, __VA_ARGS__, QK_A8_ARGUMENTS);               \
  }                                                                                                            \
  storage void name##_neoni8mm(QK_A8_PARAMETERS) {                                                             \
    if (tokens <= QK_TOKENS_N) {                                                                               \
      name##_neondot(QK_A8_ARGUMENTS);                                                                         \
    } else {                                                                                                   \
      qk_matmul_n(traits, QK_ISA_NEON_I8MM, is_group, __VA_ARGS__, QK_A8_ARGUMENTS);            \
    }                                                                                                          \
  }

#define QK_PARTS_TWINS(name) QK_TWINS_N(static, name, traits, 0, place, head4, factors4)
#define QK_GROUPS_TWINS(name, place) QK_TWINS_N(static, name, traits, 1, place, head4, factors4)

#endif
#endif
