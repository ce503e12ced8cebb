// Attention over one page with AVX-512. With 5 queries or more two vectors are in flight, 10 to 16 sums, with fewer up
// to eight.
#include "kv.h"
#include "vec_avx512.h"

#if QK_X86

#define QK_TWIN(name) name##_avx512

enum { QUERIES = 8, SUMS = 16 };

QK_INLINE size_t tile_of(size_t seeing) { return seeing < QUERIES ? seeing : QUERIES; }

QK_INLINE int vectors_of(const int queries, size_t left) {
  if (queries == 1 && left >= 8) return 8;
  if (queries <= 4 && left >= 4) return 4;
  return left >= 2 ? 2 : 1;
}

QK_INLINE size_t decoded_queries(qk_kv element) { return element == QK_KV_Q4 ? 24 : SIZE_MAX; }

#include "attention_shape.h"

#endif
