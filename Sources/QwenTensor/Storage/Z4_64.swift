internal import CQwenKernels

extension StorageFormat {
  /// Blocks of 64, otherwise as Z4_32.
  package static let z4_64 = unsafe StorageFormat(
    name: "Z4_64", blockElements: 64, blockBytes: 35, decode: qk_z4_64_decode,
    blockProduct: qk_z4_64_matmul_a8)
}
