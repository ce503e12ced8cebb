internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 32: a half-precision scale and 4-bit places in a table of 16 values.
  package static let iq4_nl = unsafe StorageFormat(
    name: "IQ4_NL", ggmlType: 20, blockElements: 32, blockBytes: 18, decode: qk_iq4_nl_decode,
    encode: qk_iq4_nl_encode, encodeBest: qk_iq4_nl_encode_best,
    blockProduct: qk_iq4_nl_matmul_a8)
}
