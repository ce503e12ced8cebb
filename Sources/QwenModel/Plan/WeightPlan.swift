package import QwenFormats
package import QwenTensor

/// What the weights of a checkpoint will take in memory, from its headers alone: nothing is read or allocated.
package struct WeightPlan: Sendable {
  /// What a tensor is for.
  package enum Part: String, Sendable, CaseIterable {
    case embedding = "embeddings"
    case layers
    case head
  }

  /// How much of a part lies in which format.
  package struct Share: Sendable {
    package let part: Part
    package let format: StorageFormat
    package var matrices = 0
    /// Bytes in memory.
    package var byteCount = 0
    /// Bytes of them that are pages of a file, which come when touched and which the system may drop.
    package var mappedBytes = 0
  }

  /// By part, then by the order of the tensors.
  package private(set) var shares: [Share] = []
  /// Norms and biases, held as floats.
  package private(set) var vectorBytes = 0

  /// Bytes of everything.
  package var byteCount: Int { vectorBytes + shares.reduce(0) { $0 + $1.byteCount } }
  /// Bytes of them that are pages of files.
  package var mappedBytes: Int { shares.reduce(0) { $0 + $1.mappedBytes } }

  /// `isMapped`: whether tensors that stay as stored are pages of their file.
  ///
  /// Throws `FormatError.unsupported` for a matrix of an unknown element type, `.limit` for sizes beyond any memory.
  package init(
    _ configuration: ModelConfiguration, _ archive: TensorArchive, isMapped: Bool
  ) throws(FormatError) {
    let names = TensorNames.find(configuration.family, in: archive)
    for entry in archive.entries {
      guard let part = WeightPlan.part(entry.name, names) else { continue }
      // The head of a tied model is the embedding, whatever the file has besides.
      if part == .head, configuration.isTied { continue }
      if WeightPlan.isVector(entry) {
        try addVector(entry)
      } else {
        try addMatrix(entry, part, isMapped: isMapped)
      }
    }
    shares.sort { WeightPlan.order($0.part) < WeightPlan.order($1.part) }
  }

  private static func order(_ part: Part) -> Int { Part.allCases.firstIndex(of: part) ?? 0 }

  /// Whether a tensor is a norm or a bias; a file may hold one as a single row.
  private static func isVector(_ entry: TensorEntry) -> Bool {
    entry.shape.count <= 1 || (entry.shape.count == 2 && entry.shape[0] == 1)
  }

  /// Nil for tensors that no model of the family reads.
  private static func part(_ name: String, _ names: TensorNames) -> Part? {
    if name.hasPrefix(names.embedding + ".") { return .embedding }
    if name.hasPrefix(names.head + ".") { return .head }
    if name.hasPrefix(names.finalNorm + ".") { return .layers }
    guard name.hasPrefix(names.layer) else { return nil }
    // Tables of angles and masks that old checkpoints carry.
    for ending in [".inv_freq", ".masked_bias", ".attn.bias"] where name.hasSuffix(ending) {
      return nil
    }
    return .layers
  }

  private mutating func addVector(_ entry: TensorEntry) throws(FormatError) {
    guard let count = checkedProduct(entry.shape), let bytes = checkedProduct(count, 4),
      let sum = checkedSum(vectorBytes, bytes)
    else { throw WeightPlan.tooLarge(entry) }
    vectorBytes = sum
  }

  private mutating func addMatrix(
    _ entry: TensorEntry, _ part: Part, isMapped: Bool
  ) throws(FormatError) {
    let format = try StorageFormat.of(entry)
    guard let sum = checkedSum(byteCount, entry.region.count), sum <= 1 << 60 else {
      throw WeightPlan.tooLarge(entry)
    }
    let index =
      shares.firstIndex { $0.part == part && $0.format.name == format.name } ?? shares.endIndex
    if index == shares.endIndex { shares.append(Share(part: part, format: format)) }
    shares[index].matrices += 1
    shares[index].byteCount += entry.region.count
    if isMapped { shares[index].mappedBytes += entry.region.count }
  }

  private static func tooLarge(_ entry: TensorEntry) -> FormatError {
    FormatError(
      .limit, path: entry.region.owner.path,
      "tensor \"\(escaped(entry.name))\" of \(entry.shape) is beyond any memory")
  }
}

extension StorageFormat {
  /// The format of a tensor; one that this build does not know is an error.
  static func of(_ entry: TensorEntry) throws(FormatError) -> StorageFormat {
    let format: StorageFormat? =
      switch entry.type {
      case .ggml(let type): StorageFormat.ggml(type)
      case .named(let name): StorageFormat.safetensors(name)
      }
    if let format { return format }
    throw FormatError(
      .unsupported, path: entry.region.owner.path,
      "tensor \"\(escaped(entry.name))\" has the element type \(entry.type)",
      hint: "this build reads \(StorageFormat.all.map(\.name).joined(separator: ", "))")
  }
}
