internal import CQwenKernels

extension StorageFormat {
  /// NF4 with the largest magnitudes of blocks in 8 bits, as double quantisation of bitsandbytes has it.
  ///
  /// 256 magnitudes of the matrix, read row after row, share a factor: a row begins with those that it needs.
  /// Written matrix by matrix.
  package static let nf4Double = unsafe StorageFormat(
    name: "NF4-double", blockElements: 64, blockBytes: 33,
    rowHead: { qk_nf4_double_head_bytes($0) },
    decode: qk_nf4_double_decode, blockProduct: qk_nf4_double_matmul_a8)
}
