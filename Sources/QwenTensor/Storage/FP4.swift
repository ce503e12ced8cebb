internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 64: a float and 4-bit places in the table of FP4, as bitsandbytes has it. Read only.
  package static let fp4 = unsafe StorageFormat(
    name: "FP4", blockElements: 64, blockBytes: 36, decode: qk_fp4_decode,
    blockProduct: qk_fp4_matmul_a8)
}
