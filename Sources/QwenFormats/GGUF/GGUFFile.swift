/// How many elements and bytes one block of a tensor type has.
package struct BlockLayout: Sendable {
  package let elements: Int
  package let bytes: Int

  package init(elements: Int, bytes: Int) {
    self.elements = elements
    self.bytes = bytes
  }
}

/// A GGUF file of version 2 or 3, or a model cut into several: metadata and tensors.
///
/// Source: the GGUF specification of the ggml project. Every count and offset is checked against the file
/// before it is used; nothing is allocated from a count alone.
package struct GGUFFile: Sendable {
  package let path: String
  package let version: UInt32
  package let metadata: [String: GGUFValue]
  package let tensors: TensorArchive
  /// Keys in the order of the file, each with the bytes of its type and value.
  package let metadataBytes: [(key: String, region: ByteRegion)]

  /// Magic number at the start of the file.
  package static let magic = Array("GGUF".utf8)
  private static let dimensionLimit = 4

  /// Reads the header of `file`. `layout` tells the block sizes of the tensor types the caller can use.
  ///
  /// A tensor of another type gets an empty region: it is an error only for who needs it.
  package init(
    _ file: FileBytes, layout: (UInt32) -> BlockLayout?
  ) throws(FormatError) {
    path = file.path
    var reader = ByteReader(file.all)
    guard file.all.starts(with: GGUFFile.magic) else {
      throw FormatError(
        .malformed, path: path, offset: 0, "is no GGUF file",
        hint: "a GGUF file begins with the letters GGUF")
    }
    try reader.skip(4)
    version = try reader.u32()
    guard version == 2 || version == 3 else {
      let isSwapped = version.byteSwapped == 2 || version.byteSwapped == 3
      throw FormatError(
        .unsupported, path: file.path, offset: 4,
        isSwapped ? "is a big-endian GGUF file" : "is GGUF version \(version)",
        hint: "this build reads little-endian files of version 2 and 3; convert the model again")
    }
    let tensorCount = try reader.size("the number of tensors")
    let valueCount = try reader.size("the number of metadata values")
    // The shortest entry has 8 + 4 + 1 bytes, the shortest tensor 8 + 4 + 4 + 8.
    guard valueCount <= reader.remaining / 13, tensorCount <= reader.remaining / 24 else {
      throw reader.failure(
        "\(valueCount) metadata values and \(tensorCount) tensors don't fit into the file",
        hint: "download it again")
    }
    (metadata, metadataBytes) = try GGUFFile.readMetadata(&reader, count: valueCount)
    tensors = try GGUFFile.readTensors(
      &reader, count: tensorCount, file: file, metadata: metadata, layout: layout)
  }

  /// The same header with other tensors.
  init(_ header: GGUFFile, tensors: TensorArchive) {
    path = header.path
    version = header.version
    metadata = header.metadata
    metadataBytes = header.metadataBytes
    self.tensors = tensors
  }

  private static func readMetadata(
    _ reader: inout ByteReader, count: Int
  ) throws(FormatError) -> ([String: GGUFValue], [(key: String, region: ByteRegion)]) {
    var metadata = [String: GGUFValue](minimumCapacity: count)
    var places: [(key: String, region: ByteRegion)] = []
    for _ in 0..<count {
      let key = try readName(&reader, "a metadata key")
      var start = reader
      let type = try readType(&reader, key)
      let value: GGUFValue =
        switch type {
        case .string: .string(try readString(&reader))
        case .array: .array(try readArray(&reader, key))
        default: try scalar(type, &reader)
        }
      if metadata.updateValue(value, forKey: key) != nil {
        throw reader.failure("metadata key \"\(escaped(key))\" comes twice")
      }
      places.append((key, try start.bytes(reader.position - start.position)))
    }
    return (metadata, places)
  }

  private static func readName(
    _ reader: inout ByteReader, _ what: String
  ) throws(FormatError) -> String {
    let length = try reader.size("the length of \(what)")
    guard length <= 65535 else { throw reader.failure("\(what) has \(length) bytes") }
    guard let text = try reader.text(length) else { throw reader.failure("\(what) is not UTF-8") }
    return text
  }

  private static func readString(_ reader: inout ByteReader) throws(FormatError) -> ByteRegion {
    let length = try reader.size("the length of a string")
    return try reader.bytes(length)
  }

  private static func readType(
    _ reader: inout ByteReader, _ key: String
  ) throws(FormatError) -> GGUFType {
    let number = try reader.u32()
    guard let type = GGUFType(rawValue: number) else {
      throw reader.failure("\"\(escaped(key))\" has the unknown value type \(number)")
    }
    return type
  }

  private static func readArray(
    _ reader: inout ByteReader, _ key: String
  ) throws(FormatError) -> GGUFArray {
    let type = try readType(&reader, key)
    let count = try reader.size("the length of \"\(escaped(key))\"")
    let start = reader
    if let size = type.size {
      guard let bytes = checkedProduct(count, size) else {
        throw reader.failure("\"\(escaped(key))\" has \(count) elements")
      }
      return GGUFArray(elementType: type, count: count, region: try reader.bytes(bytes))
    }
    guard type == .string else {
      throw reader.failure("\"\(escaped(key))\" is an array of arrays")
    }
    guard count <= reader.remaining / 8 else {
      throw reader.failure("\"\(escaped(key))\" has \(count) strings, more than the file holds")
    }
    let (sound, end) = unsafe reader.rest.withUnsafeBytes { bytes in
      unsafe GGUFArray.soundStrings(in: Span(_unsafeBytes: bytes), atMost: count)
    }
    try reader.skip(end)
    // None is left, or the first is wrong and says so.
    for _ in sound..<count { _ = try readString(&reader) }
    var whole = start
    let region = try whole.bytes(reader.position - start.position)
    return GGUFArray(elementType: type, count: count, region: region)
  }

  /// One value of fixed size; a string or array type gives an error.
  static func scalar(
    _ type: GGUFType, _ reader: inout ByteReader
  ) throws(FormatError) -> GGUFValue {
    switch type {
    case .u8: return .unsigned(UInt64(try reader.u8()))
    case .i8: return .signed(Int64(try reader.i8()))
    case .u16: return .unsigned(UInt64(try reader.u16()))
    case .i16: return .signed(Int64(try reader.i16()))
    case .u32: return .unsigned(UInt64(try reader.u32()))
    case .i32: return .signed(Int64(try reader.i32()))
    case .u64: return .unsigned(try reader.u64())
    case .i64: return .signed(try reader.i64())
    case .f32: return .number(Double(try reader.f32()))
    case .f64: return .number(try reader.f64())
    case .bool: return .bool(try reader.u8() != 0)
    case .string, .array: throw reader.failure("a number is needed")
    }
  }
}

extension GGUFFile {
  private static func readTensors(
    _ reader: inout ByteReader, count: Int, file: FileBytes, metadata: [String: GGUFValue],
    layout: (UInt32) -> BlockLayout?
  ) throws(FormatError) -> TensorArchive {
    let alignment = metadata["general.alignment"]?.int ?? 32
    guard alignment > 0, alignment <= 1 << 20, alignment & (alignment - 1) == 0 else {
      throw reader.failure("the alignment of tensors is \(alignment)")
    }
    var infos: [TensorInfo] = []
    infos.reserveCapacity(count)
    for _ in 0..<count { infos.append(try readInfo(&reader)) }
    guard let start = checkedRoundUp(reader.offset, to: alignment) else {
      throw reader.failure("the file is too long")
    }
    try refuseCut(infos, from: start, file, layout)
    var entries: [TensorEntry] = []
    entries.reserveCapacity(count)
    for info in infos {
      let where_ = "tensor \"\(escaped(info.name))\""
      guard info.offset % alignment == 0, let offset = checkedSum(start, info.offset) else {
        throw FormatError(
          .malformed, path: file.path, offset: info.place,
          "\(where_) lies at \(info.offset), no multiple of \(alignment)")
      }
      var region = try file.region(offset: 0, count: 0)
      if let block = layout(info.type) {
        guard let size = byteCount(info.shape, block) else {
          throw FormatError(
            .malformed, path: file.path, offset: info.place,
            "\(where_) has the impossible size \(info.shape)")
        }
        region = try file.region(offset: offset, count: size)
      }
      entries.append(
        TensorEntry(name: info.name, type: .ggml(info.type), shape: info.shape, region: region))
    }
    return try TensorArchive(path: file.path, entries: entries)
  }

  /// Throws for a file that ends before the last of its tensors.
  private static func refuseCut(
    _ infos: [TensorInfo], from start: Int, _ file: FileBytes, _ layout: (UInt32) -> BlockLayout?
  ) throws(FormatError) {
    var end = start
    for info in infos {
      guard let block = layout(info.type), let size = byteCount(info.shape, block),
        let first = checkedSum(start, info.offset), let last = checkedSum(first, size)
      else { continue }
      end = max(end, last)
    }
    guard end > file.count, !infos.isEmpty else { return }
    throw FormatError(
      .malformed, path: file.path,
      "has \(file.count) bytes of the \(end) that its header describes",
      hint: "the download is incomplete, download it again")
  }

  private struct TensorInfo {
    let name: String
    let shape: [Int]
    let type: UInt32
    let offset: Int
    /// Where the entry lies, for messages.
    let place: Int
  }

  private static func readInfo(_ reader: inout ByteReader) throws(FormatError) -> TensorInfo {
    let place = reader.offset
    let name = try readName(&reader, "a tensor's name")
    let dimensions = try reader.u32()
    guard dimensions <= dimensionLimit else {
      throw reader.failure("tensor \"\(escaped(name))\" has \(dimensions) dimensions")
    }
    var shape: [Int] = []
    for _ in 0..<dimensions { shape.append(try reader.size("a size of \"\(escaped(name))\"")) }
    // The file names the fastest dimension first.
    return TensorInfo(
      name: name, shape: shape.reversed(), type: try reader.u32(),
      offset: try reader.size("an offset"), place: place)
  }

  /// Bytes of a tensor of whole blocks in each row; nil if it has none or they don't fit.
  private static func byteCount(_ shape: [Int], _ block: BlockLayout) -> Int? {
    guard let columns = shape.last, columns % block.elements == 0,
      let rows = checkedProduct(Array(shape.dropLast())),
      let row = checkedProduct(columns / block.elements, block.bytes)
    else { return nil }
    return checkedProduct(rows, row)
  }
}
