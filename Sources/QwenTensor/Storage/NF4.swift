internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 64: a float and 4-bit places in the table of NF4, as bitsandbytes has it.
  package static let nf4 = unsafe StorageFormat(
    name: "NF4", blockElements: 64, blockBytes: 36, decode: qk_nf4_decode, encode: qk_nf4_encode,
    encodeBest: qk_nf4_encode_best,
    blockProduct: qk_nf4_matmul_a8)
}
