internal import QwenFormats
internal import QwenTensor

/// Finds the matrices of a folder that another program quantised, by the tensors it left for each.
struct ForeignWeights {
  let archive: TensorArchive
  let facts: QuantizationFacts?

  /// The quantised matrix of the layer `name`, [rows, columns]; nil if the layer is as usual or not there.
  ///
  /// Throws `FormatError` where its tensors contradict each other or these sizes.
  func matrix(
    _ name: String, rows: Int, columns: Int
  ) throws(FormatError) -> (any ForeignMatrix)? {
    let parts = ForeignParts(archive: archive, name: name)
    do {
      if parts.has(".qweight") {
        return try groups(parts, rows, columns)
      }
      guard let weight = parts[".weight"] else { return nil }
      switch weight.type {
      case .named("U8"), .named("I8"):
        if parts.has(".weight.absmax") { return try fourBits(parts, weight, rows, columns) }
        if parts.has(".SCB") {
          try parts.check(weight, [rows, columns])
          return try EightBitMatrix(
            rows: rows, columns: columns, codes: weight.foreignBytes,
            magnitudes: try parts.numbers(".SCB", [rows], or: [1, rows]))
        }
      case .named("F8_E4M3"):
        guard parts.has(".weight_scale_inv") else { break }
        return try squares(parts, weight, rows, columns)
      default: break
      }
      return nil
    } catch let error as FormatError {
      throw error
    } catch let error as TensorError {
      throw FormatError(error, path: archive.path, what: "layer \"\(escaped(name))\"")
    } catch {
      throw FormatError(.malformed, path: archive.path, "layer \"\(escaped(name))\": \(error)")
    }
  }

  /// Whether `name` is the part of a quantised layer that only goes with its weights: it takes no memory of its own.
  func isPart(_ name: String) -> Bool {
    let ends = [
      ".qzeros", ".scales", ".g_idx", ".SCB", ".weight_format", ".weight_scale_inv",
      ".weight.absmax", ".weight.quant_map", ".weight.nested_absmax", ".weight.nested_quant_map",
    ]
    return ends.contains { name.hasSuffix($0) } || name.contains(".weight.quant_state.")
  }

  /// The layer and the sizes of the weights `entry`, if it is those of a quantised layer.
  func layer(of entry: TensorEntry) throws(FormatError) -> (any ForeignMatrix)? {
    let name: String
    let shape: [Int]
    if entry.name.hasSuffix(".qweight") {
      name = String(entry.name.dropLast(8))
      let parts = ForeignParts(archive: archive, name: name)
      guard entry.shape.count == 2, let scales = parts[".scales"], let rows = scales.shape.last
      else { throw parts.bad("has no scales") }
      let columns =
        facts?.method == .awq ? entry.shape[0] : try parts.inputs(entry.shape[0], facts)
      shape = [rows, columns]
    } else if entry.name.hasSuffix(".weight") {
      name = String(entry.name.dropLast(7))
      let parts = ForeignParts(archive: archive, name: name)
      shape = try parts.has(".weight.absmax") ? parts.state().shape : entry.shape
    } else {
      return nil
    }
    guard shape.count == 2 else { return nil }
    return try matrix(name, rows: shape[0], columns: shape[1])
  }

  // ---- One method each -----------------------------------------------------------------------------

  private func groups(
    _ parts: ForeignParts, _ rows: Int, _ columns: Int
  ) throws -> GroupMatrix {
    let isAWQ = facts?.method == .awq
    let bits = isAWQ ? 4 : try parts.bits(columns)
    let perWord = 32 / bits
    let codes = try parts.words(
      ".qweight", isAWQ ? [columns, rows / perWord] : [columns / perWord, rows])
    guard let scales = parts[".scales"], scales.shape.count == 2, scales.shape[1] == rows else {
      throw parts.bad("has no scales for its \(rows) outputs")
    }
    let groupCount = scales.shape[0]
    let numbers = try parts.numbers(".scales", scales.shape)
    let zeros = try parts.words(".qzeros", [groupCount, rows / perWord])
    var groupOf: [Int32]?
    if !isAWQ, parts.has(".g_idx") {
      let index = try parts.words(".g_idx", [columns])
      groupOf = (0..<columns).map { index.integer($0) }
    }
    let stated = facts?.groupSize ?? (columns - 1) / max(1, groupCount) + 1
    guard groupOf != nil || (checkedProduct(groupCount, stated) ?? 0) >= columns else {
      throw parts.bad("has \(groupCount) groups of \(stated) for \(columns) inputs")
    }
    return try GroupMatrix(
      rows: rows, columns: columns, bits: bits, groupSize: stated,
      packing: isAWQ ? .outputs : .inputs(zeroBias: facts?.zeroBias ?? 1), codes: codes,
      zeros: zeros, scales: numbers, groupOf: groupOf)
  }

  private func fourBits(
    _ parts: ForeignParts, _ weight: TensorEntry, _ rows: Int, _ columns: Int
  ) throws -> FourBitMatrix {
    let state = try parts.state()
    guard state.shape == [rows, columns] else {
      throw parts.bad("is \(state.shape), but the configuration asks for \([rows, columns])")
    }
    let table = try parts.table(".weight.quant_map", 16)
    let places = parts[".weight.absmax"]
    let magnitudes: FourBitMatrix.Magnitudes
    if let places, places.type == .named("U8") {
      magnitudes = .nested(
        places.foreignBytes, table: try parts.table(".weight.nested_quant_map", 256),
        factors: try parts.numbers(".weight.nested_absmax", nil), blockSize: state.nestedBlockSize,
        offset: state.nestedOffset)
    } else {
      magnitudes = .numbers(try parts.numbers(".weight.absmax", nil))
    }
    return try FourBitMatrix(
      rows: rows, columns: columns, codes: weight.foreignBytes, table: table,
      blockSize: state.blockSize, magnitudes: magnitudes)
  }

  private func squares(
    _ parts: ForeignParts, _ weight: TensorEntry, _ rows: Int, _ columns: Int
  ) throws -> SquareBlockMatrix {
    try parts.check(weight, [rows, columns])
    let square = facts?.square ?? [128, 128]
    let scales = try parts.numbers(
      ".weight_scale_inv", [(rows - 1) / square[0] + 1, (columns - 1) / square[1] + 1])
    return try SquareBlockMatrix(
      rows: rows, columns: columns, codes: weight.foreignBytes, scales: scales,
      height: square[0], width: square[1])
  }
}
