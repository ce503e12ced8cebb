internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: half-precision scale d and minimum m, 4-bit q; the value is d q + m.
  package static let q4_1 = unsafe StorageFormat(
    name: "Q4_1", ggmlType: 3, blockElements: 32, blockBytes: 20,
    decode: qk_q4_1_decode, encode: qk_q4_1_encode, encodeBest: qk_q4_1_encode_best,
    blockProduct: qk_q4_1_matmul_a8)
}
