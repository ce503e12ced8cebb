// Attention over one page, written once for all instruction sets; the sums have the shapes of attention.c.
//
// A tile of queries shares each load of keys and of values. Vectors of keys hold WIDTH positions, those of values WIDTH
// elements: nothing is summed over lanes but weights. Scores of the tile first, then weights, then the outputs; of each
// as many vectors at a time as registers hold sums for.
//
// Included by a file that has vectors (vec_avx2.h and its kin) and says
//   QUERIES, SUMS              the most queries of a tile, the most vectors of sums
//   tile_of(seeing)            of so many queries in a row, those of the next tile
//   vectors_of(queries, left)  of so many vectors left, those that such a tile takes at once
//   decoded_queries(element)   from so many queries on a page of 8 or 4 bits is decoded first (SIZE_MAX: never)
//   QK_TWIN(name)              the name of the twin of a function
#include "exp_vec.h"
#include "twins.h"

typedef struct {
  const float *q;
  size_t q_stride;
  const uint8_t *keys, *values, *ahead;
  size_t dim;
  const int32_t *first, *visible;
  float *maximum, *sum, *out;
  size_t out_stride;
  // Of codes of 8 bits, for each position; else null.
  const float *key_scales, *value_scales;
} page;

// Scores, then weights, of the queries of a tile.
typedef float tile_weights[QUERIES][QK_PAGE_POSITIONS];

// Positions.
typedef struct {
  size_t from, to;
} range;

// ---- Keys and values --------

// d and m of 4 bits of all positions, for a group of 32 elements.
typedef struct {
  float d[QK_PAGE_POSITIONS], m[QK_PAGE_POSITIONS];
} key_scales;

QK_INLINE QK_SET void load_scales(const page *a, size_t group, size_t p, size_t count, key_scales *scales) {
  const uint8_t *source = a->keys + 4 * QK_PAGE_POSITIONS * group;
  for (const size_t end = p + count; p < end; p += WIDTH) {
    vec_store(scales->d + p, vec_halves(source + 2 * p));
    vec_store(scales->m + p, vec_halves(source + 2 * (QK_PAGE_POSITIONS + p)));
  }
}

// Element k of WIDTH positions from p on, a multiple of WIDTH; of 8 bits the codes. Of 4 bits `shift` is where the
// element is in its byte, and `scales` are those of its group.
QK_INLINE QK_SET vec load_key(qk_kv element, const page *a, size_t p, size_t k, unsigned shift,
                              const key_scales *scales) {
  const uint8_t *source = qk_key_units(element, a->keys, a->dim, p, k);
  switch (element) {
  case QK_KV_F32: return vec_load(source);
  case QK_KV_F16: return vec_halves(source);
  case QK_KV_Q8: return vec_bytes(source);
  default: return vec_fma(vec_load(scales->d + p), vec_fours(source, shift), vec_load(scales->m + p));
  }
}

// Vector j of `vectors` from element k of a value on; of 8 bits the codes. Of 4 bits k is a multiple of them all, so
// that the compiler sees whose bits lie together.
QK_INLINE QK_SET vec load_value(qk_kv element, const page *a, size_t p, size_t k, const int vectors, const int j) {
  const uint8_t *row = qk_kv_row_at(element, a->values, a->dim, p);
  const size_t at = k + WIDTH * (size_t)j;
  switch (element) {
  case QK_KV_F32: return vec_load(row + 4 * at);
  case QK_KV_F16: return vec_halves(row + 2 * at);
  case QK_KV_Q8: return vec_bytes(row + at);
  default: {
    const size_t group = k / 32 + WIDTH * (size_t)j / 32;
    const vec_pair scales = vec_all_halves(qk_kv4_scales(a->values, a->dim, p) + 4 * group);
    return vec_fma(scales.a, vec_row_fours(row + k / 16 * 8, vectors == 1 ? k / 8 % 2 : (size_t)j), scales.b);
  }
  }
}

// ---- A tile of queries --------

// Scores of vectors x WIDTH positions from p on. Meanwhile the values are fetched.
QK_INLINE QK_SET void score_some(qk_kv element, const int queries, const int vectors, const page *a, size_t p,
                                 tile_weights weights) {
  const size_t count = WIDTH * (size_t)vectors;
  // As many bytes of values as are read of keys; what lies side by side is read in turns.
  const uint8_t *fetched = qk_kv_row_at(element, a->values, a->dim, 0) + qk_kv_span(element, p * a->dim);
  const float *q[QUERIES];
  QK_UNROLL for (int i = 0; i < queries; i++) q[i] = a->q + (size_t)i * a->q_stride;
  key_scales scales;
  vec sums[SUMS];
  QK_UNROLL for (int i = 0; i < queries * vectors; i++) sums[i] = vec_all(0);
  // Runs of elements whose bits lie alike.
  const size_t run = element == QK_KV_Q4 ? 8 : a->dim;
  for (size_t start = 0; start < a->dim; start += 4 * run) {
    if (element == QK_KV_Q4) load_scales(a, start / 32, p, count, &scales);
    QK_UNROLL for (int part = 0; part < (element == QK_KV_Q4 ? 4 : 1); part++) {
      const size_t first = start + (size_t)part * run;
      const size_t end = first + run < a->dim ? first + run : a->dim;
      for (size_t k = first; k < end; k++) {
        vec keys[SUMS];
        vec_fetch(fetched, qk_kv_span(element, count));
        fetched += qk_kv_span(element, count);
        QK_UNROLL for (int j = 0; j < vectors; j++) {
          keys[j] = load_key(element, a, p + WIDTH * (size_t)j, k, part % 2 * 4, &scales);
        }
        QK_UNROLL for (int i = 0; i < queries; i++) vec_fma_row(vectors, sums + i * vectors, q[i] + k, keys);
      }
    }
  }
  QK_UNROLL for (int i = 0; i < queries * vectors; i++) {
    const size_t place = p + WIDTH * (size_t)(i % vectors);
    if (a->key_scales) sums[i] = vec_mul(sums[i], vec_load(a->key_scales + place));
    vec_store(weights[i / vectors] + place, sums[i]);
  }
}

// Scores of some positions and of those in a block with them.
QK_INLINE QK_SET void score(qk_kv element, const int queries, const page *a, range seen, tile_weights weights) {
  size_t p = seen.from / QK_KEY_BLOCK * QK_KEY_BLOCK;
  const size_t end = (seen.to + QK_KEY_BLOCK - 1) / QK_KEY_BLOCK * QK_KEY_BLOCK;
  while (p < end) {
    const int vectors = vectors_of(queries, (end - p) / WIDTH);
#define QK_SCORE(n) \
  case n: \
    if (vectors_of(queries, n) == n) score_some(element, queries, n, a, p, weights); \
    break;
    switch (vectors) { QK_SCORE(1) QK_SCORE(2) QK_SCORE(3) QK_SCORE(4) QK_SCORE(8) }
    p += WIDTH * (size_t)vectors;
  }
}

// Turns the scores of one query into weights and updates its maximum and sum; gives the correction.
QK_INLINE QK_SET float soften(float *weights, const float *scales, range seen, float *maximum, float *sum) {
  enum { VECTORS = QK_PAGE_POSITIONS / WIDTH, LANES = 16 / WIDTH };
  // What is hidden weighs 0.
  for (size_t p = 0; p < seen.from; p++) weights[p] = -INFINITY;
  for (size_t p = seen.to; p < QK_PAGE_POSITIONS; p++) weights[p] = -INFINITY;
  const float before = *maximum;
  vec most = vec_all(before);
  QK_UNROLL for (int j = 0; j < VECTORS; j++) most = vec_max(vec_load(weights + WIDTH * j), most);
  const float now = vec_any_above(most, before) ? vec_largest(most) : before;
  const float base = now == -INFINITY ? 0 : now;
  const float correction = before == base ? 1 : qk_weight_scalar(before - base);
  vec total[LANES];
  QK_UNROLL for (int j = 0; j < LANES; j++) total[j] = vec_all(0);
  QK_UNROLL for (int j = 0; j < VECTORS; j++) {
    vec w = vec_weight(vec_sub(vec_load(weights + WIDTH * j), vec_all(base)));
    total[j % LANES] = vec_add(total[j % LANES], w);
    if (scales) w = vec_mul(w, vec_load(scales + WIDTH * j));
    vec_store(weights + WIDTH * j, w);
  }
  *maximum = now;
  *sum = fmaf(*sum, correction, vec_sum16(total));
  return correction;
}

// Adds the weighted values of some positions for one query.
QK_INLINE QK_SET void add_values(qk_kv element, const int vectors, const page *a, const float *weights, range some,
                                 size_t k, vec *sums) {
  for (size_t p = some.from; p < some.to; p++) {
    vec values[SUMS];
    QK_UNROLL for (int j = 0; j < vectors; j++) values[j] = load_value(element, a, p, k, vectors, j);
    vec_fma_row(vectors, sums, weights + p, values);
  }
}

// Adds weighted values to vectors x WIDTH elements of the outputs, from element k on. All queries of the tile see the
// positions of `common`, and alone those before and behind. Meanwhile the next keys are fetched.
QK_INLINE QK_SET void weigh(qk_kv element, const int queries, const int vectors, const page *a, range common,
                            tile_weights weights, const float *corrections, size_t k) {
  vec sums[SUMS];
  QK_UNROLL for (int i = 0; i < queries; i++) {
    const float *out = a->out + (size_t)i * a->out_stride + k;
    QK_UNROLL for (int j = 0; j < vectors; j++) {
      sums[i * vectors + j] = vec_mul(vec_load(out + WIDTH * j), vec_all(corrections[i]));
    }
    const size_t first = (size_t)a->first[i], visible = (size_t)a->visible[i];
    const range before = {first, visible < common.from ? visible : common.from};
    add_values(element, vectors, a, weights[i], before, k, sums + i * vectors);
  }
  const size_t span = qk_kv_span(element, WIDTH * (size_t)vectors);
  const uint8_t *ahead = qk_kv_row_at(element, a->ahead, a->dim, 0) + qk_kv_span(element, k * QK_PAGE_POSITIONS);
  for (size_t p = common.from; p < common.to; p++) {
    vec values[SUMS];
    vec_fetch(ahead + p * span, span);
    QK_UNROLL for (int j = 0; j < vectors; j++) values[j] = load_value(element, a, p, k, vectors, j);
    QK_UNROLL for (int i = 0; i < queries; i++) vec_fma_row(vectors, sums + i * vectors, weights[i] + p, values);
  }
  QK_UNROLL for (int i = 0; i < queries; i++) {
    const size_t first = (size_t)a->first[i];
    const range behind = {first > common.to ? first : common.to, (size_t)a->visible[i]};
    add_values(element, vectors, a, weights[i], behind, k, sums + i * vectors);
    float *out = a->out + (size_t)i * a->out_stride + k;
    QK_UNROLL for (int j = 0; j < vectors; j++) vec_store(out + WIDTH * j, sums[i * vectors + j]);
  }
}

// One element of each output. Rare, so kept out of line.
static __attribute__((noinline)) QK_SET void weigh_one(qk_kv element, size_t queries, const page *a,
                                                       tile_weights weights, const float *corrections, size_t k) {
  for (size_t i = 0; i < queries; i++) {
    float *out = a->out + i * a->out_stride + k;
    float sum = *out * corrections[i];
    for (size_t p = (size_t)a->first[i]; p < (size_t)a->visible[i]; p++) {
      sum = fmaf(weights[i][p], qk_value_code(element, a->values, a->dim, p, k), sum);
    }
    *out = sum;
  }
}

// Queries of which each sees something.
QK_INLINE QK_SET void tile(qk_kv element, const int queries, const page *a) {
  tile_weights weights;
  float corrections[QUERIES];
  range any = {QK_PAGE_POSITIONS, 0}, common = {0, QK_PAGE_POSITIONS};
  for (int i = 0; i < queries; i++) {
    const size_t first = (size_t)a->first[i], visible = (size_t)a->visible[i];
    any.from = first < any.from ? first : any.from;
    any.to = visible > any.to ? visible : any.to;
    common.from = first > common.from ? first : common.from;
    common.to = visible < common.to ? visible : common.to;
  }
  // Where they have nothing in common, all is behind it.
  if (common.from >= common.to) common = (range){0, 0};
  score(element, queries, a, any, weights);
  for (int i = 0; i < queries; i++) {
    const range seen = {(size_t)a->first[i], (size_t)a->visible[i]};
    corrections[i] = soften(weights[i], a->value_scales, seen, a->maximum + i, a->sum + i);
  }
  size_t k = 0;
  while (k + WIDTH <= a->dim) {
    int vectors = vectors_of(queries, (a->dim - k) / WIDTH);
    if (element == QK_KV_Q4 && vectors == 3) vectors = 2;
#define QK_WEIGH(n) \
  case n: \
    if (vectors_of(queries, n) == n) weigh(element, queries, n, a, common, weights, corrections, k); \
    break;
    switch (vectors) { QK_WEIGH(1) QK_WEIGH(2) QK_WEIGH(3) QK_WEIGH(4) QK_WEIGH(8) }
    k += WIDTH * (size_t)vectors;
  }
  for (; k < a->dim; k++) weigh_one(element, (size_t)queries, a, weights, corrections, k);
}

// ---- All queries --------

QK_INLINE QK_SET void attend(qk_kv element, size_t queries, page a) {
  while (queries > 0) {
    size_t seeing = 0;
    while (seeing < queries && seeing < 2 * QUERIES && a.first[seeing] < a.visible[seeing]) seeing++;
    size_t done = tile_of(seeing);
#define QK_TILE(n) \
  case n: \
    if (tile_of(n) == n) tile(element, n, &a); \
    break;
    switch (done) { QK_TILE(1) QK_TILE(2) QK_TILE(3) QK_TILE(4) QK_TILE(5) QK_TILE(6) QK_TILE(7) QK_TILE(8) }
    // One that sees nothing is passed over.
    if (done == 0) done = 1;
    queries -= done;
    a.q += done * a.q_stride;
    a.out += done * a.out_stride;
    a.first += done;
    a.visible += done;
    a.maximum += done;
    a.sum += done;
    // What comes next is fetched once.
    a.ahead = a.keys;
  }
}

static __attribute__((noinline)) QK_SET void attend_floats(size_t queries, page a) {
  attend(QK_KV_F32, queries, a);
}

// Many queries share what is decoded once; it lies where scratch of the stack is no burden.
enum { DECODED_DIM = 128 };

// The keys of a block of positions. Elements k and k + 8 may lie in the same bytes.
QK_INLINE QK_SET void decode_keys(qk_kv element, const page *a, size_t p, float *keys) {
  key_scales scales;
  for (size_t start = 0; start < a->dim; start += 16) {
    if (element == QK_KV_Q4 && start % 32 == 0) load_scales(a, start / 32, p, QK_KEY_BLOCK, &scales);
    const size_t left = a->dim - start < 16 ? a->dim - start : 16;
    const size_t low = left < 8 ? left : 8, high = left - low;
    for (size_t i = 0; i < low; i++) {
      float *target = keys + qk_key_place(a->dim, p, start + i);
      QK_UNROLL for (size_t l = 0; l < QK_KEY_BLOCK; l += WIDTH) {
        vec_store(target + l, load_key(element, a, p + l, start + i, 0, &scales));
        if (i < high) {
          vec_store(target + 8 * QK_KEY_BLOCK + l, load_key(element, a, p + l, start + i + 8, 4, &scales));
        }
      }
    }
  }
}

// The values of a position.
QK_INLINE QK_SET void decode_value(qk_kv element, const page *a, size_t p, float *value) {
  size_t k = 0;
#define QK_DECODE(n) \
  for (; k + n * WIDTH <= a->dim; k += n * WIDTH) { \
    QK_UNROLL for (int j = 0; j < n; j++) vec_store(value + k + WIDTH * j, load_value(element, a, p, k, n, j)); \
  }
  QK_DECODE(4) QK_DECODE(2) QK_DECODE(1)
  for (; k < a->dim; k++) value[k] = qk_value_code(element, a->values, a->dim, p, k);
}

QK_INLINE QK_SET void attend_decoded(qk_kv element, size_t queries, page a) {
  float keys[QK_PAGE_POSITIONS * DECODED_DIM];
  float values[QK_PAGE_POSITIONS * DECODED_DIM];
  range any = {QK_PAGE_POSITIONS, 0};
  for (size_t i = 0; i < queries; i++) {
    any.from = (size_t)a.first[i] < any.from ? (size_t)a.first[i] : any.from;
    any.to = (size_t)a.visible[i] > any.to ? (size_t)a.visible[i] : any.to;
  }
  for (size_t p = any.from / QK_KEY_BLOCK * QK_KEY_BLOCK; p < any.to; p += QK_KEY_BLOCK) {
    decode_keys(element, &a, p, keys);
  }
  for (size_t p = any.from; p < any.to; p++) decode_value(element, &a, p, values + p * a.dim);
  a.keys = a.ahead = (const uint8_t *)keys;
  a.values = (const uint8_t *)values;
  attend_floats(queries, a);
}

#define QK_PAGE(name, element)                                                                             \
  QK_SET void QK_TWIN(name)(const float *q, size_t q_stride, size_t queries, const void *keys,             \
                            const void *values, const void *ahead, size_t dim, const int32_t *first,       \
                            const int32_t *visible, float *maximum, float *sum, float *out,                \
                            size_t out_stride) {                                                           \
    page a = {q, q_stride, keys, values, ahead, dim, first, visible, maximum, sum, out, out_stride, 0, 0}; \
    if (element == QK_KV_Q8) a.key_scales = keys, a.value_scales = values;                                 \
    if (element == QK_KV_F32) {                                                                            \
      attend_floats(queries, a);                                                                           \
    } else if (element >= QK_KV_Q8 && queries >= decoded_queries(element) && dim <= DECODED_DIM) {         \
      attend_decoded(element, queries, a);                                                                 \
    } else {                                                                                               \
      attend(element, queries, a);                                                                         \
    }                                                                                                      \
  }

QK_PAGE(qk_attention_page_f32, QK_KV_F32)
QK_PAGE(qk_attention_page_f16, QK_KV_F16)
QK_PAGE(qk_attention_page_q8, QK_KV_Q8)
QK_PAGE(qk_attention_page_q4, QK_KV_Q4)
