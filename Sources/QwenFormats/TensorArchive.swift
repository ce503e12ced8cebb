/// How the numbers of a tensor lie in memory, as its container names it.
package enum TensorType: Hashable, Sendable, CustomStringConvertible {
  /// A type number of GGUF files.
  case ggml(UInt32)
  /// A type name of safetensors files, as "BF16".
  case named(String)

  package var description: String {
    switch self {
    case .ggml(let number): "ggml type \(number)"
    case .named(let name): "\"\(escaped(name))\""
    }
  }
}

/// One tensor of a checkpoint.
package struct TensorEntry: Sendable {
  package let name: String
  package let type: TensorType
  /// Sizes, outermost first: a matrix is [rows, columns].
  package let shape: [Int]
  /// The tensor's bytes.
  package let region: ByteRegion
}

/// The tensors of one checkpoint, whatever and how many files they come from.
package struct TensorArchive: Sendable {
  /// File or folder, for messages.
  package let path: String
  /// In the order of the files.
  package let entries: [TensorEntry]
  private let positions: [String: Int]

  /// Throws `FormatError.malformed` if two tensors share a name.
  init(path: String, entries: [TensorEntry]) throws(FormatError) {
    var positions = [String: Int](minimumCapacity: entries.count)
    for (position, entry) in entries.enumerated() {
      if positions.updateValue(position, forKey: entry.name) != nil {
        throw FormatError(
          .malformed, path: path, "has two tensors named \"\(escaped(entry.name))\"")
      }
    }
    self.path = path
    self.entries = entries
    self.positions = positions
  }

  /// The tensor of that name.
  package subscript(name: String) -> TensorEntry? { positions[name].map { entries[$0] } }

  /// Bytes of all tensors.
  package var byteCount: Int {
    entries.reduce(0) { checkedSum($0, $1.region.count) ?? Int.max }
  }
}
