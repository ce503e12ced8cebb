internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 256: 4-bit places in the table of IQ4_NL, a 6-bit scale for each 32,
  /// a half-precision factor.
  package static let iq4_xs = unsafe StorageFormat(
    name: "IQ4_XS", ggmlType: 23, blockElements: 256, blockBytes: 136, decode: qk_iq4_xs_decode,
    encode: qk_iq4_xs_encode, encodeBest: qk_iq4_xs_encode_best,
    blockProduct: qk_iq4_xs_matmul_a8)
}
