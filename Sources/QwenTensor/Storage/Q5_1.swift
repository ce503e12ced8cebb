internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: half-precision scale d and minimum m, 5-bit q; the value is d q + m.
  package static let q5_1 = unsafe StorageFormat(
    name: "Q5_1", ggmlType: 7, blockElements: 32, blockBytes: 24, decode: qk_q5_1_decode,
    encode: qk_q5_1_encode, encodeBest: qk_q5_1_encode_best, blockProduct: qk_q5_1_matmul_a8)
}
