internal import CQwenKernels

extension StorageFormat {
  /// IEEE half precision.
  package static let f16 = unsafe StorageFormat(
    name: "F16", ggmlType: 1, safetensorsType: "F16", blockElements: 1, blockBytes: 2,
    decode: qk_f16_decode, encode: qk_f16_encode, floatProduct: qk_f16_matmul)
}
