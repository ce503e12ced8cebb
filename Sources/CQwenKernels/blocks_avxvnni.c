// Products of blocked formats and 8-bit activations with AVX-VNNI: the loops of AVX2 with another product.
#define QK_VNNI 1
#define QK_TWIN(name) name##_avxvnni
#include "blocks_avx2.c"
