package import QwenFormats
internal import QwenTensor

/// What the weights of a checkpoint will take in memory, from its headers alone: nothing is read or allocated.
package struct WeightPlan: Sendable {
  /// By part, then by the order of the tensors.
  package private(set) var shares: [WeightShare] = []
  /// Norms and biases, held as floats.
  package private(set) var vectorBytes = 0

  /// Bytes of everything.
  package var byteCount: Int { vectorBytes + shares.reduce(0) { $0 + $1.byteCount } }
  /// Bytes of them that are pages of files.
  package var mappedBytes: Int { shares.reduce(0) { $0 + $1.mappedBytes } }

  /// `isMapped`: whether tensors that stay as stored are pages of their file; `policy`: which don't.
  ///
  /// Throws `FormatError.unsupported` for a matrix of an unknown element type, `.limit` for sizes beyond any memory.
  package init(
    _ configuration: ModelConfiguration, _ archive: TensorArchive, isMapped: Bool,
    policy: WeightPolicy = .stored
  ) throws(FormatError) {
    let names = TensorNames.find(configuration.family, in: archive)
    let foreign = ForeignWeights(archive: archive, facts: configuration.quantization)
    for entry in archive.entries {
      guard let part = WeightPlan.part(entry.name, names) else { continue }
      // The head of a tied model is the embedding, whatever the file has besides.
      if part == .head, configuration.isTied { continue }
      if foreign.isPart(entry.name) { continue }
      if let layer = try foreign.layer(of: entry) {
        // Brought into blocks of ours, in memory of the process.
        try add(
          entry, part, policy, stored: layer.format, [layer.rows, layer.columns], layer.byteCount,
          isMapped: false)
      } else if WeightPlan.isVector(entry) {
        try addVector(entry)
      } else {
        try addMatrix(entry, part, policy, isMapped: isMapped)
      }
    }
    if configuration.isTied
      || (archive[names.head + ".weight"] ?? archive[names.head + ".qweight"]) == nil,
      let embedding = archive[names.embedding + ".weight"], let columns = embedding.shape.last,
      !policy.sharesTiedHead(of: columns, stored: try StorageFormat.of(embedding))
    {
      try addMatrix(embedding, .head, policy, isMapped: isMapped)
    }
    shares.sort { WeightPlan.order($0.part) < WeightPlan.order($1.part) }
  }

  private static func order(_ part: WeightPart) -> Int {
    WeightPart.allCases.firstIndex(of: part) ?? 0
  }

  /// Whether a tensor is a norm or a bias; a file may hold one as a single row.
  private static func isVector(_ entry: TensorEntry) -> Bool {
    entry.shape.count <= 1 || (entry.shape.count == 2 && entry.shape[0] == 1)
  }

  /// Nil for tensors that no model of the family reads.
  static func part(_ name: String, _ names: TensorNames) -> WeightPart? {
    if name.hasPrefix(names.embedding + ".") { return .embedding }
    if name.hasPrefix(names.head + ".") { return .head }
    if name.hasPrefix(names.finalNorm + ".") { return .layers }
    guard name.hasPrefix(names.layer) else { return nil }
    // Tables of angles and masks that old checkpoints carry.
    for ending in [".inv_freq", ".masked_bias", ".attn.bias"] where name.hasSuffix(ending) {
      return nil
    }
    let rest = name.dropFirst(names.layer.count).drop { $0 != "." }.dropFirst()
    return rest == names.router + ".weight" || rest == names.sharedGate + ".weight"
      ? .router : .layers
  }

  private mutating func addVector(_ entry: TensorEntry) throws(FormatError) {
    guard let count = checkedProduct(entry.shape), let bytes = checkedProduct(count, 4),
      let sum = checkedSum(vectorBytes, bytes)
    else { throw WeightPlan.tooLarge(entry) }
    vectorBytes = sum
  }

  private mutating func addMatrix(
    _ entry: TensorEntry, _ part: WeightPart, _ policy: WeightPolicy, isMapped: Bool
  ) throws(FormatError) {
    try add(
      entry, part, policy, stored: try StorageFormat.of(entry), entry.shape, entry.region.count,
      isMapped: isMapped)
  }

  /// A matrix of `shape` in `stored`, which takes `bytes`, or what the policy makes of it.
  private mutating func add(
    _ entry: TensorEntry, _ part: WeightPart, _ policy: WeightPolicy, stored: StorageFormat,
    _ shape: [Int], _ bytes: Int?, isMapped: Bool
  ) throws(FormatError) {
    let columns = shape.last ?? 0
    let format = policy.format(part, stored: stored, columns: columns)
    let isStored = format.name == stored.name
    let converted = format.rowBytes(columns: columns).flatMap { row in
      checkedProduct(Array(shape.dropLast())).flatMap { checkedProduct($0, row) }
    }
    guard let bytes = isStored ? bytes : converted,
      let sum = checkedSum(byteCount, bytes), sum <= 1 << 60
    else { throw WeightPlan.tooLarge(entry) }
    let index =
      shares.firstIndex { $0.part == part && $0.format.name == format.name } ?? shares.endIndex
    if index == shares.endIndex { shares.append(WeightShare(part: part, format: format)) }
    shares[index].matrices += 1
    shares[index].byteCount += bytes
    if isMapped, isStored, policy.packing != .all || !PackingRule.all.wants(stored) {
      shares[index].mappedBytes += bytes
    }
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
      case .named(let name): StorageFormat.safetensors(name) ?? StorageFormat.named(name)
      }
    if let format { return format }
    throw FormatError(
      .unsupported, path: entry.region.owner.path,
      "tensor \"\(escaped(entry.name))\" has the element type \(entry.type)",
      hint: "this build reads \(StorageFormat.all.map(\.name).joined(separator: ", "))"
        + "; a folder that another version packed must be converted again")
  }
}
