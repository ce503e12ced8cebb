// Attention over one page with AVX2. Up to 12 sums, 4 shared vectors and a factor are in flight: 6 queries with two
// vectors, 4 with three, 2 with four.
#include "kv.h"
#include "vec_avx2.h"

#if QK_X86

#define QK_TWIN(name) name##_avx2

enum { QUERIES = 6, SUMS = 12 };

// 7 are 6 and 1: with two vectors they would want 14 sums, and a load for each product.
QK_INLINE size_t tile_of(size_t seeing) { return seeing < QUERIES ? seeing : QUERIES; }

QK_INLINE int vectors_of(const int queries, size_t left) {
  if (queries == 1 && left >= 8) return 8;
  if (queries <= 2 && left >= 4) return 4;
  if ((queries == 3 || queries == 4) && left >= 3 && left != 4) return 3;
  return left >= 2 ? 2 : 1;
}

QK_INLINE size_t decoded_queries(qk_kv element) { return element == QK_KV_Q4 ? 7 : SIZE_MAX; }

#include "attention_shape.h"

#endif
