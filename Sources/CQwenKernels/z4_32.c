// Blocks of 32 with a zero point.
enum { PARTS = 1 };
#include "z4.h"

QK_PARTS_DECODE(z4_32)
QK_PARTS_MATMUL(z4_32)
QK_PARTS_INTERLEAVED(z4_32)
