/// One metadata value of a file that is written.
package enum GGUFOutput: Sendable {
  case u32(UInt32)
  case f32(Float)
  case bool(Bool)
  case string(String)
  case strings([[UInt8]])
  case i32s([Int32])
  /// Type number and value as another file has them.
  case raw(ByteRegion)
}

/// Writes GGUF files of version 3: header and metadata first, then the tensors in the order announced.
///
/// Source: the GGUF specification of the ggml project.
package struct GGUFWriter {
  /// What a tensor will be.
  package struct Tensor: Sendable {
    let name: String
    /// Outermost first.
    let shape: [Int]
    let type: UInt32
    let byteCount: Int

    package init(name: String, shape: [Int], type: UInt32, byteCount: Int) {
      self.name = name
      self.shape = shape
      self.type = type
      self.byteCount = byteCount
    }
  }

  /// Tensors begin at multiples of this.
  private static let alignment = 32

  private let file: OutputFile

  /// Writes everything before the tensors' bytes.
  package init(
    _ file: OutputFile, metadata: [(key: String, value: GGUFOutput)], tensors: [Tensor]
  ) throws(FormatError) {
    self.file = file
    var header = HeaderBytes()
    header.bytes += GGUFFile.magic
    header.add(UInt32(3))
    header.add(UInt64(tensors.count))
    header.add(UInt64(metadata.count))
    for (key, value) in metadata {
      header.add(key)
      header.add(value)
    }
    var offset = 0
    for tensor in tensors {
      header.add(tensor.name)
      header.add(UInt32(tensor.shape.count))
      for size in tensor.shape.reversed() { header.add(UInt64(size)) }
      header.add(tensor.type)
      header.add(UInt64(offset))
      guard let end = checkedSum(offset, tensor.byteCount),
        let next = checkedRoundUp(end, to: GGUFWriter.alignment)
      else { throw FormatError(.limit, path: file.path, "the tensors are too large for a file") }
      offset = next
    }
    try file.write(header.bytes)
    try file.pad(to: GGUFWriter.alignment)
  }

  /// Appends bytes of the tensor that is next.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(FormatError) {
    try unsafe file.write(bytes)
  }

  /// Ends a tensor.
  package func endTensor() throws(FormatError) { try file.pad(to: GGUFWriter.alignment) }

  /// Gives the file its name.
  package func commit() throws(FormatError) { try file.commit() }

  /// What `general.file_type` says of a file whose matrices have mostly the tensor type `type`; nil for none known.
  ///
  /// The numbers are those of llama.cpp's files.
  package static func fileType(mostly type: UInt32) -> UInt32? {
    let pairs: [UInt32: UInt32] = [
      0: 0, 1: 1, 2: 2, 3: 3, 6: 8, 7: 9, 8: 7, 10: 10, 11: 12, 12: 15, 13: 17, 14: 18, 20: 25,
      23: 30, 30: 32,
    ]
    return pairs[type]
  }
}

/// Little-endian bytes of a header in the making.
private struct HeaderBytes {
  var bytes: [UInt8] = []

  mutating func add(_ value: some FixedWidthInteger) {
    for byte in 0..<MemoryLayout.size(ofValue: value) {
      bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte)))
    }
  }

  mutating func add(_ text: String) {
    add(UInt64(text.utf8.count))
    bytes += text.utf8
  }

  mutating func add(_ value: GGUFOutput) {
    switch value {
    case .u32(let value): add(.u32, value)
    case .f32(let value): add(.f32, value.bitPattern)
    case .bool(let value): add(.bool, UInt8(value ? 1 : 0))
    case .string(let text):
      add(GGUFType.string.rawValue)
      add(text)
    case .strings(let texts):
      beginArray(.string, count: texts.count)
      for text in texts {
        add(UInt64(text.count))
        bytes += text
      }
    case .i32s(let values):
      beginArray(.i32, count: values.count)
      for value in values { add(value) }
    case .raw(let region): bytes += region.array()
    }
  }

  private mutating func add(_ type: GGUFType, _ value: some FixedWidthInteger) {
    add(type.rawValue)
    add(value)
  }

  private mutating func beginArray(_ type: GGUFType, count: Int) {
    add(GGUFType.array.rawValue)
    add(type.rawValue)
    add(UInt64(count))
  }
}
