/// Writes the head of safetensors files that hold storage formats of this library.
///
/// Formats that safetensors has no word for are bytes [rows, bytes of a row] with a note in the metadata: the
/// tensor's name, and its format with the sizes, as "NF4 4096 11008". Other readers see valid files.
package enum SafetensorsHeader {
  /// What a tensor will be.
  package struct Tensor {
    let name: String
    let shape: [Int]
    let format: String
    let type: String?
    let byteCount: Int

    /// `type` is safetensors' own word for the format, if it has one.
    package init(name: String, shape: [Int], format: String, type: String?, byteCount: Int) {
      self.name = name
      self.shape = shape
      self.format = format
      self.type = type
      self.byteCount = byteCount
    }
  }

  /// Data begins at a multiple of this.
  private static let alignment = 64

  /// Writes everything before the tensors' bytes, which follow in this order without gaps.
  package static func write(_ file: OutputFile, _ tensors: [Tensor]) throws(FormatError) {
    var notes: JSONObject = ["format": "pt"]
    var entries: [(String, JSONValue)] = []
    var offset = 0
    for tensor in tensors {
      guard let end = checkedSum(offset, tensor.byteCount) else {
        throw FormatError(.limit, path: file.path, "the tensors are too large for a file")
      }
      var shape = tensor.shape
      if tensor.type == nil {
        let sizes = tensor.shape.map(String.init).joined(separator: " ")
        notes[tensor.name] = .string("\(tensor.format) \(sizes)")
        let rows = checkedProduct(Array(tensor.shape.dropLast())) ?? 1
        shape = [rows, tensor.byteCount / max(1, rows)]
      }
      entries.append(
        (
          tensor.name,
          [
            "dtype": .string(tensor.type ?? "U8"), "shape": .array(shape.map { .integer($0) }),
            "data_offsets": [.integer(offset), .integer(end)],
          ]
        ))
      offset = end
    }
    let header = JSONObject([("__metadata__", .object(notes))] + entries)
    var bytes = Array(JSONValue.object(header).serialized().utf8)
    while (bytes.count + 8) % alignment != 0 { bytes.append(UInt8(ascii: " ")) }
    let length = UInt64(bytes.count)
    try file.write((0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + bytes)
  }

  /// Format and shape that the metadata of a file notes for a tensor; nil if it notes none.
  static func note(
    _ name: String, in metadata: JSONObject?
  ) -> (format: String, shape: [Int])? {
    guard let note = metadata?[name]?.string else { return nil }
    let words = note.split(separator: " ")
    let sizes = words.dropFirst().map { Int($0) ?? -1 }
    guard words.count > 1, sizes.allSatisfy({ $0 >= 0 }) else { return nil }
    return (String(words[0]), sizes)
  }
}
