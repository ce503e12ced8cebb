// The faster twins behind the functions of the public header.
#ifndef QK_TWINS_H
#define QK_TWINS_H

#include "isa.h"

#if QK_X86

// ---- float_avx2.c float_avx512.c --------

typedef void qk_float_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                             const float *x, size_t x_stride, size_t tokens, float *y,
                             size_t y_stride);
qk_float_matmul qk_f32_matmul_avx2, qk_f16_matmul_avx2, qk_bf16_matmul_avx2;
qk_float_matmul qk_f32_matmul_avx512, qk_f16_matmul_avx512, qk_bf16_matmul_avx512;

typedef void qk_bfloat_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                              const uint16_t *x, size_t x_stride, size_t tokens, float *y,
                              size_t y_stride);
qk_bfloat_matmul qk_bf16_matmul_bf16_avx2, qk_bf16_matmul_bf16_avx512, qk_bf16_matmul_bf16_avx512bf16;

void qk_f16_decode_avx2(const void *source, float *values, size_t count);
void qk_bf16_decode_avx2(const void *source, float *values, size_t count);
void qk_f16_encode_avx2(const float *values, void *target, size_t count);
void qk_bf16_encode_avx2(const float *values, void *target, size_t count);

// ---- blocks_avx2.c blocks_avxvnni.c blocks_avx512.c q4_k_avx512.c q5_k_avx512.c --------

typedef void qk_block_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                             const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                             size_t y_stride);
#define QK_BLOCK_TWINS(name) \
  qk_block_matmul qk_##name##_matmul_a8_avx2, qk_##name##_matmul_a8_avxvnni, qk_##name##_matmul_a8_avx512;
QK_BLOCK_TWINS(q4_0)
QK_BLOCK_TWINS(q4_1)
QK_BLOCK_TWINS(q8_0)
QK_BLOCK_TWINS(q4_0x16)
QK_BLOCK_TWINS(q4_1x16)
QK_BLOCK_TWINS(q8_0x16)
QK_BLOCK_TWINS(q4_kx16)
qk_block_matmul qk_q5_kx16_matmul_a8_avx512;

// In a product of blocks: goes to the twin of the set in force, if there is one.
#define QK_CHOOSE_TWIN(name)                                                                        \
  if (qk_isa() >= QK_ISA_AVX2) {                                                                    \
    qk_block_matmul *const twin = qk_isa() >= QK_ISA_AVX512    ? name##_avx512                      \
                                  : qk_isa() >= QK_ISA_AVXVNNI ? name##_avxvnni                     \
                                                               : name##_avx2;                       \
    twin(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);                      \
    return;                                                                                         \
  }

// ---- a8_avx2.c --------

void qk_a8_quantize_avx2(const float *x, qk_a8_block *blocks, size_t count);

// ---- attention_avx2.c attention_avx512.c --------

typedef void qk_attention_page(const float *q, size_t q_stride, size_t queries, const void *keys,
                               const void *values, const void *ahead, size_t dim,
                               const int32_t *first, const int32_t *visible, float *maximum,
                               float *sum, float *out, size_t out_stride);
qk_attention_page qk_attention_page_f32_avx2, qk_attention_page_f16_avx2,
    qk_attention_page_q8_avx2, qk_attention_page_q4_avx2;
qk_attention_page qk_attention_page_f32_avx512, qk_attention_page_f16_avx512,
    qk_attention_page_q8_avx512, qk_attention_page_q4_avx512;

// The same for interleaved forms.
#define QK_CHOOSE_GROUP_TWIN(name) QK_CHOOSE_TWIN(name)

#elif QK_ARM

// ---- float_neon.c blocks_neon.c --------

typedef void qk_float_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                             const float *x, size_t x_stride, size_t tokens, float *y,
                             size_t y_stride);
qk_float_matmul qk_f32_matmul_neon, qk_f16_matmul_neon, qk_bf16_matmul_neon;
typedef void qk_bfloat_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                              const uint16_t *x, size_t x_stride, size_t tokens, float *y,
                              size_t y_stride);
qk_bfloat_matmul qk_bf16_matmul_bf16_neon;
void qk_f16_encode_neon(const float *values, void *target, size_t count);

typedef void qk_block_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                             const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,
                             size_t y_stride);
#define QK_BLOCK_TWINS(name) \
  qk_block_matmul qk_##name##_matmul_a8_neon, qk_##name##_matmul_a8_neondot, qk_##name##_matmul_a8_neoni8mm;
QK_BLOCK_TWINS(q4_0)
QK_BLOCK_TWINS(q4_1)
QK_BLOCK_TWINS(q8_0)
QK_BLOCK_TWINS(q4_0x16)
QK_BLOCK_TWINS(q4_1x16)
QK_BLOCK_TWINS(q8_0x16)
QK_BLOCK_TWINS(q4_kx16)

#define QK_CHOOSE_TWIN(name)                                                                        \
  if (qk_isa() >= QK_ISA_NEON) {                                                                    \
    qk_block_matmul *const twin = qk_isa() >= QK_ISA_NEON_I8MM  ? name##_neoni8mm                   \
                                  : qk_isa() >= QK_ISA_NEON_DOT ? name##_neondot                    \
                                                                : name##_neon;                      \
    twin(weights, row_bytes, rows, columns, x, x_stride, tokens, y, y_stride);                      \
    return;                                                                                         \
  }
#define QK_CHOOSE_GROUP_TWIN(name) QK_CHOOSE_TWIN(name)

// ---- attention_neon.c --------

typedef void qk_attention_page(const float *q, size_t q_stride, size_t queries, const void *keys,
                               const void *values, const void *ahead, size_t dim,
                               const int32_t *first, const int32_t *visible, float *maximum,
                               float *sum, float *out, size_t out_stride);
qk_attention_page qk_attention_page_f32_neon, qk_attention_page_f16_neon, qk_attention_page_q8_neon,
    qk_attention_page_q4_neon;

#else
#define QK_CHOOSE_TWIN(name)
#define QK_CHOOSE_GROUP_TWIN(name)
#endif
#endif
