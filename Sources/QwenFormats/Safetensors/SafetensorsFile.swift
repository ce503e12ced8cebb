/// Reads safetensors files: 8 bytes of length, a JSON header, the tensors.
///
/// Source: the format's own description by Hugging Face. Tensors must lie within the file, match their shape
/// and not overlap.
enum SafetensorsFile {
  /// Longest header, as the format's own reader has it.
  private static let headerLimit = 100_000_000

  /// The tensors of one file in the order of their offsets.
  static func read(_ file: FileBytes) throws(FormatError) -> [TensorEntry] {
    try Stray.refuse(file)
    var reader = ByteReader(file.all)
    let length = try reader.size("the length of the header")
    guard length <= headerLimit else {
      throw FormatError(
        .limit, path: file.path, offset: 0, "the header has \(length) bytes",
        hint: "is this a safetensors file?")
    }
    guard length <= reader.remaining else { throw isCut(file, atLeast: checkedSum(8, length)) }
    let header = try reader.bytes(length)
    let data = try reader.bytes(reader.remaining)
    let value: JSONValue
    do {
      value = try unsafe header.withUnsafeBytes { (bytes) throws(JSONSyntaxError) in
        try unsafe JSONValue(parsing: bytes, maximumBytes: headerLimit)
      }
    } catch {
      throw FormatError(
        error.formatKind, path: file.path, offset: 8 + error.offset,
        "the header is not JSON: \(error.message)", hint: "download the file again")
    }
    guard let object = value.object else {
      throw FormatError(.malformed, path: file.path, offset: 8, "the header is \(value.kindName)")
    }
    let end = object.entries.lazy.compactMap { $0.value["data_offsets"]?[1]?.int }.max() ?? 0
    guard end <= data.count else { throw isCut(file, atLeast: checkedSum(data.offset, end)) }
    var entries: [TensorEntry] = []
    let metadata = object["__metadata__"]?.object
    for (name, value) in object.entries where name != "__metadata__" {
      let stored = try entry(name, value, data, file.path)
      let note = SafetensorsHeader.note(name, in: metadata)
      entries.append(
        note.map {
          TensorEntry(name: name, type: .named($0.format), shape: $0.shape, region: stored.region)
        } ?? stored)
    }
    entries.sort { ($0.region.offset, $0.region.count) < ($1.region.offset, $1.region.count) }
    for (first, second) in zip(entries, entries.dropFirst())
    where first.region.offset + first.region.count > second.region.offset {
      throw FormatError(
        .malformed, path: file.path, offset: second.region.offset,
        "tensors \"\(escaped(first.name))\" and \"\(escaped(second.name))\" overlap")
    }
    return entries
  }

  /// A file that is shorter than its header says.
  private static func isCut(_ file: FileBytes, atLeast size: Int?) -> FormatError {
    FormatError(
      .malformed, path: file.path,
      "has \(file.count) bytes of the \(size.map { "\($0)" } ?? "too many") that its header describes",
      hint: "the download is incomplete, download it again")
  }

  private static func entry(
    _ name: String, _ value: JSONValue, _ data: ByteRegion, _ path: String
  ) throws(FormatError) -> TensorEntry {
    func bad(_ message: String) -> FormatError {
      FormatError(.malformed, path: path, "tensor \"\(escaped(name))\" \(message)")
    }
    guard let type = value["dtype"]?.string else { throw bad("has no \"dtype\"") }
    guard let sizes = value["shape"]?.array else { throw bad("has no \"shape\"") }
    var shape: [Int] = []
    for size in sizes {
      guard let size = size.int, size >= 0 else { throw bad("has an impossible shape") }
      shape.append(size)
    }
    guard let offsets = value["data_offsets"]?.array, offsets.count == 2,
      let start = offsets[0].int, let end = offsets[1].int, start >= 0, start <= end
    else { throw bad("has no usable \"data_offsets\"") }
    if let bits = elementBits(type) {
      guard let count = checkedProduct(shape), let total = checkedProduct(count, bits),
        total % 8 == 0, total / 8 == end - start
      else { throw bad("has \(end - start) bytes, not those of \(shape) \(escaped(type))") }
    }
    return TensorEntry(
      name: name, type: .named(type), shape: shape,
      region: try data.region(offset: start, count: end - start))
  }

  /// Bits of an element, nil for types of later versions.
  static func elementBits(_ type: String) -> Int? {
    switch type {
    case "F64", "I64", "U64": 64
    case "F32", "I32", "U32": 32
    case "F16", "BF16", "I16", "U16": 16
    case "F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL": 8
    default: nil
    }
  }
}
