internal import CQwenKernels

/// A form of a blocked format for which rows lie side by side in groups: the same numbers and sums, other
/// places, so that kernels need no transposition.
///
/// Sizes in bytes are those of rows, the number of rows rounded up to whole groups.
@safe
package struct Interleaving: Sendable {
  /// Name of the format that rows have by themselves.
  package let source: String
  /// Rows in one group; a range of rows begins at a multiple of it.
  package let rows: Int
  /// The instruction sets on which a product with rows as they lie in files is slower than memory.
  let paysOn: [Int]
  /// Rows to groups.
  @unsafe package let pack: Pack
  /// Decodes elements of one row of a group.
  @unsafe package let decode: DecodeRow

  /// Whether interleaving makes a model faster on this instruction set.
  func pays(_ set: Int32) -> Bool { paysOn.contains(Int(set)) }

  package typealias Pack =
    @convention(c) (UnsafeRawPointer?, Int, Int, Int, UnsafeMutableRawPointer?) -> Void
  package typealias DecodeRow =
    @convention(c) (UnsafeRawPointer?, Int, UnsafeMutablePointer<Float>?, Int) -> Void
}

/// Sets without 512-bit vectors.
private let onAVX2 = [QK_ISA_AVX2, QK_ISA_AVXVNNI]

extension StorageFormat {
  /// Q4_0 in groups of 16 rows.
  package static let q4_0x16 = unsafe q4_0.interleaved(
    "Q4_0x16", paysOn: onAVX2, product: qk_q4_0x16_matmul_a8, pack: qk_q4_0x16_pack,
    decode: qk_q4_0x16_decode)
  /// Q4_1 in groups of 16 rows.
  package static let q4_1x16 = unsafe q4_1.interleaved(
    "Q4_1x16", paysOn: onAVX2, product: qk_q4_1x16_matmul_a8, pack: qk_q4_1x16_pack,
    decode: qk_q4_1x16_decode)
  /// Q8_0 in groups of 16 rows.
  package static let q8_0x16 = unsafe q8_0.interleaved(
    "Q8_0x16", paysOn: [], product: qk_q8_0x16_matmul_a8, pack: qk_q8_0x16_pack,
    decode: qk_q8_0x16_decode)

  /// Q4_K in groups of 16 rows.
  package static let q4_kx16 = unsafe q4_k.interleaved(
    "Q4_Kx16", paysOn: onAVX2, product: qk_q4_kx16_matmul_a8, pack: qk_q4_kx16_pack,
    decode: qk_q4_kx16_decode)

  /// Every interleaved form. They are made from rows, by `Matrix.packed`, or come from a file that says so.
  package static let interleavedForms: [StorageFormat] = [.q4_0x16, .q4_1x16, .q8_0x16, .q4_kx16]

  /// Name of the format, or of the one that rows have by themselves.
  package var rowName: String { interleaving?.source ?? name }

  /// Rows in one group; 1 where rows lie by themselves.
  package var groupRows: Int { interleaving?.rows ?? 1 }

  /// `rows` rounded up to whole groups; `Int.max` if that overflows.
  func wholeGroups(_ rows: Int) -> Int {
    let group = groupRows
    let (sum, overflow) = rows.addingReportingOverflow(group - 1)
    return overflow ? Int.max : sum / group * group
  }

  /// The interleaved form of this format, if it has one.
  package var interleavedForm: StorageFormat? {
    Self.interleavedForms.first { $0.interleaving?.source == name }
  }

  /// The format of a published name, interleaved or not.
  package static func named(_ name: String) -> StorageFormat? {
    (all + interleavedForms).first { $0.name == name }
  }

  private func interleaved(
    _ name: String, paysOn: [Int], product: @escaping BlockProduct,
    pack: @escaping Interleaving.Pack,
    decode: @escaping Interleaving.DecodeRow
  ) -> StorageFormat {
    unsafe StorageFormat(
      name: name, blockElements: blockElements, blockBytes: blockBytes, decode: self.decode,
      blockProduct: product,
      interleaving: Interleaving(
        source: self.name, rows: 16, paysOn: paysOn, pack: pack, decode: decode))
  }
}
