package import CQwenKernels

/// How weights lie in memory: sizes, exact decoding, and the fast products that exist for them.
///
/// This is the table row that keeps formats out of models: nothing outside `Storage/` asks for a name.
@safe
package struct StorageFormat: Sendable {
  /// Published name, as "Q4_0".
  package let name: String
  /// Type number in GGUF files, if it has one.
  package let ggmlType: UInt32?
  /// Element type in safetensors files, if it has one.
  package let safetensorsType: String?
  /// Elements in one block; rows hold whole blocks.
  package let blockElements: Int
  /// Bytes of one block.
  package let blockBytes: Int
  /// Bytes before the blocks of a row of so many columns.
  let rowHead: @Sendable (_ columns: Int) -> Int
  /// Decodes a whole number of blocks to float, exactly; a whole row if rows have a head.
  @unsafe package let decode: Decode
  /// Encodes a whole number of blocks, or nil: nothing writes this format. The rounding is the format's plain
  /// one: see the prototype.
  @unsafe package let encode: Encode?
  /// Encodes with the least squared error it finds, or nil where rounding leaves nothing to find.
  @unsafe package let encodeBest: EncodeBest?
  /// Encodes a whole matrix where its rows cannot be encoded one by one.
  let encodeMatrix: EncodeMatrix?
  /// Product with float activations, or nil: rows are decoded first, then multiplied as F32.
  @unsafe package let floatProduct: FloatProduct?
  /// Product with activations rounded to bfloat16, or nil where they are not rounded to it.
  @unsafe let bfloatProduct: BFloatProduct?
  /// Product with 8-bit activations, or nil where they are not worth it.
  @unsafe package let blockProduct: BlockProduct?
  /// Adds what `blockProduct` leaves out where activations are rounded as LLM.int8() does; nil for all other formats.
  @unsafe let outlierProduct: OutlierProduct?
  /// Set where rows lie in groups; `decode` and `encode` are then those of a row by itself.
  package let interleaving: Interleaving?

  package typealias Decode =
    @convention(c) (UnsafeRawPointer?, UnsafeMutablePointer<Float>?, Int) -> Void
  package typealias Encode =
    @convention(c) (UnsafePointer<Float>?, UnsafeMutableRawPointer?, Int) -> Void
  package typealias EncodeBest =
    @convention(c) (
      UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutableRawPointer?, Int
    ) -> Void
  typealias EncodeMatrix =
    @Sendable (
      _ source: FloatRows, _ effort: Matrix.Effort, _ importance: FloatBuffer?,
      _ target: UnsafeMutableRawPointer, _ threads: Int
    ) throws(TensorError) -> Void
  package typealias FloatProduct =
    @convention(c) (
      UnsafeRawPointer?, Int, Int, Int, UnsafePointer<Float>?, Int, Int,
      UnsafeMutablePointer<Float>?, Int
    ) -> Void
  typealias BFloatProduct =
    @convention(c) (
      UnsafeRawPointer?, Int, Int, Int, UnsafePointer<UInt16>?, Int, Int,
      UnsafeMutablePointer<Float>?, Int
    ) -> Void
  package typealias BlockProduct =
    @convention(c) (
      UnsafeRawPointer?, Int, Int, Int, UnsafePointer<qk_a8_block>?, Int, Int,
      UnsafeMutablePointer<Float>?, Int
    ) -> Void

  typealias OutlierProduct =
    @convention(c) (
      UnsafeRawPointer?, Int, Int, Int, UnsafePointer<Float>?, UnsafePointer<UInt32>?,
      UnsafeMutablePointer<Float>?
    ) -> Void

  /// What a format lacks is left out; see the properties.
  @unsafe init(
    name: String, ggmlType: UInt32? = nil, safetensorsType: String? = nil, blockElements: Int,
    blockBytes: Int, rowHead: @escaping @Sendable (_ columns: Int) -> Int = { _ in 0 },
    decode: @escaping Decode, encode: Encode? = nil, encodeBest: EncodeBest? = nil,
    encodeMatrix: EncodeMatrix? = nil, floatProduct: FloatProduct? = nil,
    bfloatProduct: BFloatProduct? = nil, blockProduct: BlockProduct? = nil,
    outlierProduct: OutlierProduct? = nil,
    interleaving: Interleaving? = nil
  ) {
    self.name = name
    self.ggmlType = ggmlType
    self.safetensorsType = safetensorsType
    self.blockElements = blockElements
    self.blockBytes = blockBytes
    self.rowHead = rowHead
    unsafe self.decode = decode
    unsafe self.encode = encode
    unsafe self.encodeBest = encodeBest
    unsafe self.encodeMatrix = encodeMatrix
    unsafe self.floatProduct = floatProduct
    unsafe self.bfloatProduct = bfloatProduct
    unsafe self.blockProduct = blockProduct
    unsafe self.outlierProduct = outlierProduct
    self.interleaving = interleaving
  }

  /// Every format this build knows. A new one is its file and its name here.
  package static let all: [StorageFormat] = [
    .f32, .f16, .bf16, .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q2_k, .q3_k, .q4_k, .q5_k, .q6_k,
    .iq4_nl, .iq4_xs, .nf4, .nf4Double, .fp4, .int8, .z4_32, .z4_64, .z8, .fp8,
  ]

  /// Whether anything writes this format.
  package var isWritable: Bool { unsafe encode != nil || encodeMatrix != nil }

  /// Whether the encoder that looks for the least error weighs columns.
  package var usesImportance: Bool { unsafe encodeBest != nil || encodeMatrix != nil }

  /// Whether its rows are made of the whole matrix, so that a slab of rows can't be encoded by itself.
  package var isWhole: Bool { unsafe encodeMatrix != nil }

  /// The format of a GGUF type number.
  package static func ggml(_ type: UInt32) -> StorageFormat? {
    all.first { $0.ggmlType == type }
  }

  /// The format of a safetensors element type, as "BF16".
  package static func safetensors(_ type: String) -> StorageFormat? {
    all.first { $0.safetensorsType == type }
  }

  /// Bytes of a row of `columns` elements; nil if that is no whole number of blocks, or overflows.
  package func rowBytes(columns: Int) -> Int? {
    guard columns >= 0, columns % blockElements == 0 else { return nil }
    let (bytes, overflow) = (columns / blockElements).multipliedReportingOverflow(by: blockBytes)
    let (sum, overflows) = bytes.addingReportingOverflow(rowHead(columns))
    return overflow || overflows ? nil : sum
  }

  /// Average bits that one weight takes, heads of rows left out.
  package var bitsPerWeight: Double { Double(blockBytes * 8) / Double(blockElements) }
}
