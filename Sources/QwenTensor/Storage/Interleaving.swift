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
  /// Rows to groups.
  @unsafe package let pack: Pack
  /// Decodes elements of one row of a group.
  @unsafe package let decode: DecodeRow

  /// Whether interleaving makes a model faster on this instruction set.
  func pays(_ set: Int32) -> Bool {
    #if arch(x86_64)
      // Memory of our own has large pages besides.
      set != QK_ISA_SCALAR
    #elseif arch(arm64)
      // By count of operations, never measured: mostly a sixth to a third fewer for one token with dotprod, none without.
      set >= QK_ISA_NEON_DOT
    #else
      false
    #endif
  }

  package typealias Pack =
    @convention(c) (UnsafeRawPointer?, Int, Int, Int, UnsafeMutableRawPointer?) -> Void
  package typealias DecodeRow =
    @convention(c) (UnsafeRawPointer?, Int, UnsafeMutablePointer<Float>?, Int) -> Void
}

extension StorageFormat {
  /// Every interleaved form. They are made from rows, by `Matrix.packed`, or come from a file that says so.
  package static let interleavedForms: [StorageFormat] = unsafe [
    q4_0.interleaved(
      qk_q4_0x16_matmul_a8, pack: qk_q4_0x16_pack, decode: qk_q4_0x16_decode),
    q4_1.interleaved(
      qk_q4_1x16_matmul_a8, pack: qk_q4_1x16_pack, decode: qk_q4_1x16_decode),
    q5_0.interleaved(
      qk_q5_0x16_matmul_a8, pack: qk_q5_0x16_pack, decode: qk_q5_0x16_decode),
    q5_1.interleaved(
      qk_q5_1x16_matmul_a8, pack: qk_q5_1x16_pack, decode: qk_q5_1x16_decode),
    q8_0.interleaved(
      qk_q8_0x16_matmul_a8, pack: qk_q8_0x16_pack, decode: qk_q8_0x16_decode),
    q2_k.interleaved(
      qk_q2_kx16_matmul_a8, pack: qk_q2_kx16_pack, decode: qk_q2_kx16_decode),
    q3_k.interleaved(
      qk_q3_kx16_matmul_a8, pack: qk_q3_kx16_pack, decode: qk_q3_kx16_decode),
    q4_k.interleaved(
      qk_q4_kx16_matmul_a8, pack: qk_q4_kx16_pack, decode: qk_q4_kx16_decode),
    q5_k.interleaved(
      qk_q5_kx16_matmul_a8, pack: qk_q5_kx16_pack, decode: qk_q5_kx16_decode),
    q6_k.interleaved(
      qk_q6_kx16_matmul_a8, pack: qk_q6_kx16_pack, decode: qk_q6_kx16_decode,
      suffix: "x16s"),
    iq4_nl.interleaved(
      qk_iq4_nlx16_matmul_a8, pack: qk_iq4_nlx16_pack, decode: qk_iq4_nlx16_decode),
    iq4_xs.interleaved(
      qk_iq4_xsx16_matmul_a8, pack: qk_iq4_xsx16_pack, decode: qk_iq4_xsx16_decode),
    nf4.interleaved(
      qk_nf4x16_matmul_a8, pack: qk_nf4x16_pack, decode: qk_nf4x16_decode),
    nf4Double.interleaved(
      qk_nf4_doublex16_matmul_a8, pack: qk_nf4_doublex16_pack,
      decode: qk_nf4_doublex16_decode),
    fp4.interleaved(
      qk_fp4x16_matmul_a8, pack: qk_fp4x16_pack, decode: qk_fp4x16_decode),
    int8.interleaved(
      qk_int8x16_matmul_a8, pack: qk_int8x16_pack, decode: qk_int8x16_decode,
      outliers: qk_int8x16_add_outliers),
    z4_32.interleaved(
      qk_z4_32x16_matmul_a8, pack: qk_z4_32x16_pack, decode: qk_z4_32x16_decode),
    z4_64.interleaved(
      qk_z4_64x16_matmul_a8, pack: qk_z4_64x16_pack, decode: qk_z4_64x16_decode),
    z8.interleaved(
      qk_z8x16_matmul_a8, pack: qk_z8x16_pack, decode: qk_z8x16_decode),
  ]

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
    _ product: @escaping BlockProduct, pack: @escaping Interleaving.Pack,
    decode: @escaping Interleaving.DecodeRow, outliers: OutlierProduct? = nil,
    suffix: String = "x16"
  ) -> StorageFormat {
    unsafe StorageFormat(
      name: name + suffix, blockElements: blockElements, blockBytes: blockBytes, rowHead: rowHead,
      decode: self.decode, blockProduct: product, outlierProduct: outliers,
      interleaving: Interleaving(
        source: name, rows: 16, pack: pack, decode: decode))
  }
}
