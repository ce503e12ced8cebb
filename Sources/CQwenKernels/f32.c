#include "internal.h"

static inline float load_one(const uint8_t *source, size_t k) {
  float value;
  memcpy(&value, source + 4 * k, sizeof value);
  return value;
}

void qk_f32_decode(const void *source, float *values, size_t count) {
  memcpy(values, source, count * sizeof *values);
}

#define QK_NAME(part) qk_f32_##part
#define LOAD_ONE(source, k) load_one(source, k)
#define LOAD_EIGHT(source, k) _mm256_loadu_ps((const float *)((source) + 4 * (k)))
#include "floats.h"
