// Attention over one page with NEON. One query keeps 4 vectors of sums, so that none waits for itself, up to 5 keep 2,
// more keep one: with what they share 25 of 32 registers.
#include "kv.h"
#include "vec_neon.h"

#if QK_ARM

#define QK_TWIN(name) name##_neon

enum { QUERIES = 7, SUMS = 10 };

QK_INLINE size_t tile_of(size_t seeing) { return seeing >= 7 ? 7 : seeing > 3 ? 4 : seeing; }

QK_INLINE int vectors_of(const int queries, size_t left) {
  if (queries == 1 && left >= 4) return 4;
  return queries <= 5 && left >= 2 ? 2 : 1;
}

QK_INLINE size_t decoded_queries(qk_kv element) { return (void)element, 16; }

#include "attention_shape.h"

#endif
