internal import CQwenKernels

extension StorageFormat {
  /// IEEE single precision.
  package static let f32 = unsafe StorageFormat(
    name: "F32", ggmlType: 0, safetensorsType: "F32", blockElements: 1, blockBytes: 4,
    decode: qk_f32_decode, encode: qk_f32_encode, floatProduct: qk_f32_matmul)
}
