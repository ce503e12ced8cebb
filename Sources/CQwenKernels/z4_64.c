// Blocks of 64 with a zero point.
enum { PARTS = 2 };
#include "z4.h"

QK_PARTS_DECODE(z4_64)
QK_PARTS_MATMUL(z4_64)
QK_PARTS_INTERLEAVED(z4_64)
