// Inner loops on raw memory. Pure functions: no allocation, no threads, no I/O, no model names.
//
// Every function has a scalar reference and faster twins chosen at run time (qk_cpu_isa). Sizes are in
// elements unless a name says bytes; pointers may have any alignment; inputs and outputs do not overlap
// unless a comment allows it.
//
// Fixed shapes: what one output element is depends only on its own row of weights and its own row of
// activations, never on how many rows or tokens are computed beside it, nor on how a caller splits ranges.
#ifndef CQWENKERNELS_H
#define CQWENKERNELS_H

#include <stddef.h>
#include <stdint.h>

// ---- cpu.c --------------------------------------------------------------------------------------------

// Sets of x86-64, then those of aarch64; each better than the ones before it.
enum { QK_ISA_SCALAR = 0, QK_ISA_AVX2 = 1, QK_ISA_AVXVNNI = 2, QK_ISA_AVX512 = 3, QK_ISA_AVX512BF16 = 4, QK_ISA_COUNT = 5 };
enum { QK_ISA_NEON = 1, QK_ISA_NEON_DOT = 2, QK_ISA_NEON_I8MM = 3 };

// The instruction set in force: the best this processor and build have up to the one that the environment asks for, or
// the one last forced.
// QK_ISA_AVX2 stands for AVX2, FMA and F16C together, QK_ISA_AVXVNNI for these and the 256-bit products of
// AVX-VNNI; QK_ISA_AVX512 for AVX2 and F, BW, DQ, VL and VNNI, QK_ISA_AVX512BF16 for these and BF16. QK_ISA_NEON_I8MM has dotprod, too.
int32_t qk_cpu_isa(void);

// The name of a set: "scalar", "avx2", "avxvnni", "avx512", "avx512bf16"; "neon", "neondot", "neoni8mm".
const char *qk_cpu_name(int32_t isa);

// The set that LIBQWEN_ISA names in the environment: the last one if it is unset or empty, -1 if it names none. What
// the first question for the set in force finds there holds as long as the process lives.
int32_t qk_cpu_asked(void);

// Forces an instruction set (tests, benchmarks); negative means automatic again. A set this processor
// lacks is lowered to the next it has. Returns what is now in force. Not to be called during a computation.
int32_t qk_cpu_force(int32_t isa);

// ---- processors.c -------------------------------------------------------------------------------------

// The numbers of the processors that the calling thread's affinity mask allows, in rising order, as many as there is
// room for; returns how many there are, 0 if the system doesn't say.
int32_t qk_processors(int32_t *numbers, int32_t room);

// ---- futex.c ------------------------------------------------------------------------------------------

// Waits while *word == expected, at most timeout_ns (negative: no limit). May wake for no reason.
void qk_futex_wait(const void *word, uint32_t expected, int64_t timeout_ns);
void qk_futex_wake(const void *word, int32_t count);
// Tells the processor that this is a spin loop.
void qk_pause(void);

// ---- Storage formats: one file each (f32.c q4_0.c nf4.c ...) --------------------------------------------

// Decodes count consecutive elements (a multiple of the format's block) to float, exactly.
void qk_f32_decode(const void *source, float *values, size_t count);
void qk_f16_decode(const void *source, float *values, size_t count);
void qk_bf16_decode(const void *source, float *values, size_t count);
void qk_q4_0_decode(const void *source, float *values, size_t count);
void qk_q4_1_decode(const void *source, float *values, size_t count);
void qk_q8_0_decode(const void *source, float *values, size_t count);

void qk_fp8_decode(const void *source, float *values, size_t count);

// Products with float activations.
//   weights: rows of columns elements, row r at weights + r * row_bytes
//   x: tokens rows of columns floats, row t at x + t * x_stride
//   y[t * y_stride + r] = sum over k of weights[r][k] * x[t][k]
// Sum shape, the same for every number of rows and tokens: lane l of 8 adds the products of
// k = l, l + lanes, ... in rising order with fused multiply-add, then lanes are added pairwise
// in one documented order.
void qk_f32_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                   const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride);
void qk_f16_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                   const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride);
void qk_bf16_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                    const float *x, size_t x_stride, size_t tokens, float *y, size_t y_stride);

// The same with activations in bfloat16 (x_stride in elements) and twice the products a lane: lane l of 8 adds the products
// of k = 2 l + 1, 2 l, 2 l + 17, 2 l + 16, ..., each with one fused multiply-add; columns are filled up with zeros. Operands and
// results, also of sums of lanes, that are subnormal count as zero of the same sign.
void qk_bf16_matmul_bf16(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                         const uint16_t *x, size_t x_stride, size_t tokens, float *y, size_t y_stride);

// As above but for the place of the scales (fp8.c); columns a multiple of 128.
void qk_fp8_matmul(const void *weights, size_t row_bytes, size_t rows, size_t columns, const float *x,
                   size_t x_stride, size_t tokens, float *y, size_t y_stride);

// Activations in 8 bits: one block for each 32 values, quantised per token.
typedef struct qk_a8_block {
  float scale;       // max |x| / 127, 0 for a block of zeros
  int32_t sum;       // sum of the 32 values below
  float scaled_sum;  // scale * sum, rounded
  int16_t halves[2]; // sums of the first and of the last 16 values
  int8_t values[32]; // round half to even of x / scale, in -127 ... 127
} qk_a8_block;

// Quantises count floats (a multiple of 32) to count / 32 blocks. A value that is not finite makes the
// scale of its block not finite, so that it shows in the result.
void qk_a8_quantize(const float *x, qk_a8_block *blocks, size_t count);

// Activations as LLM.int8() has them: one scale for all blocks of a token, from half precision; values of 6 and more,
// either sign, are outliers: 0 in the blocks, a bit of `outliers` (count / 32 words) for each.
void qk_int8_quantize(const float *x, qk_a8_block *blocks, uint32_t *outliers, size_t count);
// Codes at these places of a block become 0.
void qk_int8_clear(qk_a8_block *block, uint32_t places);
// y[r] += the outliers of one token times row r of weights in int8, in rising order of columns.
void qk_int8_add_outliers(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                          const float *x, const uint32_t *outliers, float *y);
// The same of interleaved rows.
void qk_int8x16_add_outliers(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                             const float *x, const uint32_t *outliers, float *y);

// Products of blocked weights and 8-bit activations; columns a multiple of 32; token t at
// x + t * x_stride (x_stride in blocks). Blocks are summed exactly in integers, then scaled and added in
// rising block order in the format's fixed lane shape, alike for one token and for many.
void qk_q4_0_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                       const qk_a8_block *x, size_t x_stride, size_t tokens, float *y, size_t y_stride);
void qk_q4_1_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                       const qk_a8_block *x, size_t x_stride, size_t tokens, float *y, size_t y_stride);
void qk_q8_0_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,
                       const qk_a8_block *x, size_t x_stride, size_t tokens, float *y, size_t y_stride);

// Decoding and product of formats that are made of parts of 32 elements (parts.h has the sum shape). Where a row begins
// with something of its own (int8, nf4_double), decoding begins at a row and count is its number of columns.
#define QK_FORMAT_OF_PARTS(name)                                                                    \
  void qk_##name##_decode(const void *source, float *values, size_t count);                         \
  void qk_##name##_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns,    \
                             const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,        \
                             size_t y_stride);
QK_FORMAT_OF_PARTS(q5_0)
QK_FORMAT_OF_PARTS(q5_1)
QK_FORMAT_OF_PARTS(q2_k)
QK_FORMAT_OF_PARTS(q3_k)
QK_FORMAT_OF_PARTS(q4_k)
QK_FORMAT_OF_PARTS(q5_k)
QK_FORMAT_OF_PARTS(q6_k)
QK_FORMAT_OF_PARTS(iq4_nl)
QK_FORMAT_OF_PARTS(iq4_xs)
QK_FORMAT_OF_PARTS(z4_32)
QK_FORMAT_OF_PARTS(z4_64)
QK_FORMAT_OF_PARTS(z8)
QK_FORMAT_OF_PARTS(nf4)
QK_FORMAT_OF_PARTS(nf4_double)
QK_FORMAT_OF_PARTS(fp4)
QK_FORMAT_OF_PARTS(int8)

// Encodes count consecutive floats (a multiple of the format's block), rounding byte for byte as the gguf
// package does: nearest code for the plain scale of the block. 16 bits: to nearest, ties to even.
void qk_f32_encode(const float *values, void *target, size_t count);
void qk_f16_encode(const float *values, void *target, size_t count);
void qk_bf16_encode(const float *values, void *target, size_t count);
void qk_q4_0_encode(const float *values, void *target, size_t count);
void qk_q4_1_encode(const float *values, void *target, size_t count);
void qk_q5_0_encode(const float *values, void *target, size_t count);
void qk_q5_1_encode(const float *values, void *target, size_t count);
void qk_q8_0_encode(const float *values, void *target, size_t count);

// The same for formats that gguf does not write, and encoders that take their time for all these: the least squared
// error they find, where `importance` has a weight for each value, or is null for ones (fit.h). _encode of
// these is _encode_best without importance.
#define QK_BEST_ENCODER_OF(name)                                                                    \
  void qk_##name##_encode(const float *values, void *target, size_t count);                         \
  void qk_##name##_encode_best(const float *values, const float *importance, void *target,          \
                               size_t count);
QK_BEST_ENCODER_OF(q4_0)
QK_BEST_ENCODER_OF(q4_1)
QK_BEST_ENCODER_OF(q5_0)
QK_BEST_ENCODER_OF(q5_1)
QK_BEST_ENCODER_OF(q2_k)
QK_BEST_ENCODER_OF(q3_k)
QK_BEST_ENCODER_OF(q4_k)
QK_BEST_ENCODER_OF(q5_k)
QK_BEST_ENCODER_OF(q6_k)
QK_BEST_ENCODER_OF(iq4_nl)
QK_BEST_ENCODER_OF(iq4_xs)
QK_BEST_ENCODER_OF(nf4)

// The same for the formats of bitsandbytes, equal to it. int8: one row; weights pass through half precision.
void qk_nf4_encode(const float *values, void *target, size_t count);
void qk_int8_encode(const float *values, void *target, size_t count);

// NF4 with 8-bit magnitudes (nf4_double.c has the layout). Bytes that stand before a row's blocks:
size_t qk_nf4_double_head_bytes(size_t columns);
// The largest magnitude of each 64 of count values.
void qk_nf4_largest(const float *values, float *largest, size_t count);
// Instead of it the magnitude of least error, not negative; importance of columns as in _encode_best.
void qk_nf4_fit_largest(const float *values, const float *importance, float *largest, size_t count);
// Codes of the dynamic 8-bit format of up to 256 values, and the factor they stand under.
void qk_dynamic8_encode(const float *values, size_t count, float *factor, uint8_t *codes);
// Writes the head of a row whose first block is block `first` of the matrix; factors are those of all segments.
void qk_nf4_double_begin(float offset, size_t first, const float *factors, size_t factor_count,
                         void *target, size_t columns);
// Writes the blocks of a row: `codes` has the 8-bit code of each.
void qk_nf4_double_encode(const float *values, const uint8_t *codes, void *target, size_t columns);
// The same with 4-bit codes for the magnitude that the 8-bit one stands for; the head has been written.
void qk_nf4_double_encode_best(const float *values, const uint8_t *codes, void *target, size_t columns);

// Interleaved forms: 16 rows side by side (interleaved.h, parts_groups.h), as many bytes as in rows, rows rounded up to
// a multiple of 16. Products have the bits of the row-major forms; weights and row_bytes are those of
// rows, and a range of rows starts at a multiple of 16.
//   pack: rows of columns elements at source, row_bytes apart, to groups at target
//   decode: count elements of row (0 ... 15) of the group at group
#define QK_INTERLEAVED_FORMAT(name)                                                                 \
  void qk_##name##x16_pack(const void *source, size_t row_bytes, size_t rows, size_t columns,       \
                           void *target);                                                           \
  void qk_##name##x16_decode(const void *group, size_t row, float *values, size_t count);           \
  void qk_##name##x16_matmul_a8(const void *weights, size_t row_bytes, size_t rows, size_t columns, \
                                const qk_a8_block *x, size_t x_stride, size_t tokens, float *y,     \
                                size_t y_stride);
QK_INTERLEAVED_FORMAT(q4_0)
QK_INTERLEAVED_FORMAT(q4_1)
QK_INTERLEAVED_FORMAT(q5_0)
QK_INTERLEAVED_FORMAT(q5_1)
QK_INTERLEAVED_FORMAT(q8_0)
QK_INTERLEAVED_FORMAT(q2_k)
QK_INTERLEAVED_FORMAT(q3_k)
QK_INTERLEAVED_FORMAT(q4_k)
QK_INTERLEAVED_FORMAT(q5_k)
QK_INTERLEAVED_FORMAT(q6_k)
QK_INTERLEAVED_FORMAT(iq4_nl)
QK_INTERLEAVED_FORMAT(iq4_xs)
QK_INTERLEAVED_FORMAT(nf4)
QK_INTERLEAVED_FORMAT(nf4_double)
QK_INTERLEAVED_FORMAT(fp4)
QK_INTERLEAVED_FORMAT(int8)
QK_INTERLEAVED_FORMAT(z4_32)
QK_INTERLEAVED_FORMAT(z4_64)
QK_INTERLEAVED_FORMAT(z8)

// ---- attention.c --------------------------------------------------------------------------------------

// Attention of several query vectors over one page of cached positions, with a running softmax.
//   q: queries rows of dim floats, already scaled by 1/sqrt(dim) and rotated; row i at q + i * q_stride
//   keys, values: runs as the store functions below write them
//   ahead: the keys that are read next, to be fetched meanwhile; null for none
//   visible[i]: how many of the positions query i sees (0 ... positions), counted from the page's start
//   first[i]: the first position query i sees (window attention), 0 for none hidden
//   maximum[i], sum[i], out[i * out_stride ... + dim]: the running state; start with -infinity, 0, zeros
// For each query: m' = max(m, max of scores); everything is rescaled by exp(m - m'); then positions are
// added in rising order. A query that sees nothing in the page is left unchanged. Pages are aligned to
// absolute positions by the caller, so results do not depend on how tokens arrive. What lies in hidden positions is
// never looked at.
// q4 decodes to floats (kv.h) and has the results of f32 over those, bit for bit; q8 multiplies codes and scales apart.
#define QK_ATTENTION_PAGE(format)                                                                   \
  void qk_attention_page_##format(const float *q, size_t q_stride, size_t queries,                  \
                                  const void *keys, const void *values, const void *ahead,          \
                                  size_t dim, const int32_t *first, const int32_t *visible,         \
                                  float *maximum, float *sum, float *out, size_t out_stride);
QK_ATTENTION_PAGE(f32)
QK_ATTENTION_PAGE(f16)
QK_ATTENTION_PAGE(q8)
QK_ATTENTION_PAGE(q4)

// Joins the states of the same queries over two ranges of positions into the first; rows of out are dim floats apart. One
// that saw nothing leaves the other as it is.
void qk_attention_merge(size_t queries, size_t dim, float *maximum, float *sum, float *out,
                        const float *behind_maximum, const float *behind_sum, const float *behind_out);

// Positions in one page.
enum { QK_PAGE_POSITIONS = 64 };

// ---- kv.c ---------------------------------------------------------------------------------------------

// Asks for memory that is read soon. Never faults, whatever the address.
void qk_prefetch_run(const void *run, size_t bytes);

// Keys, or values, of one head in one page (kv.h has the layouts): bytes they take, writing the dim elements of one
// position, and reading them back. A value that is not finite makes what it is stored with not finite.
//   q8: a scale for each position; half a step is max |x| / 254 of the position
//   q4: a step and a least value for each 32 elements; half a step is (max - min) / 30 of those
#define QK_KEYS_AND_VALUES(format)                                                                  \
  size_t qk_kv_##format##_bytes(size_t dim);                                                        \
  void qk_kv_##format##_store_key(const float *x, size_t dim, size_t position, void *run);          \
  void qk_kv_##format##_store_value(const float *x, size_t dim, size_t position, void *run);        \
  void qk_kv_##format##_decode_key(const void *run, size_t dim, size_t position, float *values);    \
  void qk_kv_##format##_decode_value(const void *run, size_t dim, size_t position, float *values);
QK_KEYS_AND_VALUES(f32)
QK_KEYS_AND_VALUES(f16)
QK_KEYS_AND_VALUES(q8)
QK_KEYS_AND_VALUES(q4)

// Rows of `units` units of `unit` bytes from a run where `block` rows lie side by side: unit u of row r is the
// ((r / block) units + u) block + r % block th. And back.
void qk_kv_gather_rows(const void *side_by_side, size_t block, size_t unit, size_t units,
                       size_t count, void *rows);
void qk_kv_scatter_rows(const void *rows, size_t block, size_t unit, size_t units, size_t count,
                        void *side_by_side);

// ---- elementwise.c ------------------------------------------------------------------------------------

// y = x * weight / sqrt(mean(x^2) + epsilon); y may be x.
void qk_rms_norm(const float *x, const float *weight, float epsilon, float *y, size_t count);
// x += y
void qk_add(float *x, const float *y, size_t count);
// x *= factor
void qk_scale(float *x, float factor, size_t count);
// out = gate / (1 + exp(-gate)) * up; out may be gate or up.
void qk_silu_multiply(const float *gate, const float *up, float *out, size_t count);
// Rotates pairs (j, j + half) of one head in place: x[j], x[j+half] by the angle of cosine[j], sine[j].
void qk_rope_halves(float *x, const float *cosine, const float *sine, size_t half);
// Rotates pairs (2j, 2j + 1) of one head in place.
void qk_rope_pairs(float *x, const float *cosine, const float *sine, size_t half);
// exp, relative error under 2e-7 over the finite range, exact 0 at -infinity; the same in every function above.
void qk_exp(const float *x, float *y, size_t count);
// Index of the largest value, the lowest index on ties; NaN never wins; -1 if there is nothing but NaN.
int64_t qk_argmax(const float *x, size_t count);
// log(sum(exp(x))), in a fixed order, sums in double.
double qk_log_sum_exp(const float *x, size_t count);
// 1 if every value is finite, else 0.
int32_t qk_all_finite(const float *x, size_t count);

#endif
