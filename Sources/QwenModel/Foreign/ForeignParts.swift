internal import QwenFormats
internal import QwenTensor

/// The tensors of one quantised layer, found by the endings of their names.
struct ForeignParts {
  let archive: TensorArchive
  let name: String

  subscript(ending: String) -> TensorEntry? { archive[name + ending] }

  func has(_ ending: String) -> Bool { archive[name + ending] != nil }

  func bad(_ message: String) -> FormatError {
    FormatError(
      .malformed, path: archive.path, "quantised layer \"\(escaped(name))\" \(message)",
      hint: "its tensors don't belong together, or a shard is missing")
  }

  func check(_ entry: TensorEntry, _ shape: [Int]) throws(FormatError) {
    guard entry.shape == shape else {
      throw FormatError(
        .malformed, path: archive.path,
        "tensor \"\(escaped(entry.name))\" is \(entry.shape), but the configuration asks for \(shape)"
      )
    }
  }

  private func find(_ ending: String) throws(FormatError) -> TensorEntry {
    guard let entry = self[ending] else { throw bad("has no \"\(ending.dropFirst())\"") }
    return entry
  }

  /// 32-bit words of that shape.
  func words(_ ending: String, _ shape: [Int]) throws(FormatError) -> ForeignBytes {
    let entry = try find(ending)
    try check(entry, shape)
    guard entry.type == .named("I32") || entry.type == .named("U32") else {
      throw bad("has \"\(ending.dropFirst())\" of the type \(entry.type)")
    }
    return entry.foreignBytes
  }

  /// Bits of a code of GPTQ, by how many rows of words `columns` inputs take.
  func bits(_ columns: Int) throws(FormatError) -> Int {
    guard let rows = self[".qweight"]?.shape.first, let all = checkedProduct(rows, 32),
      columns > 0, all % columns == 0, all / columns == 4 || all / columns == 8
    else { throw bad("has no codes of 4 or 8 bits for its \(columns) inputs") }
    return all / columns
  }

  /// Inputs of a GPTQ layer with `rows` rows of words: as many as have a group, or as the bits of the folder say.
  func inputs(_ rows: Int, _ facts: QuantizationFacts?) throws(FormatError) -> Int {
    if let index = self[".g_idx"]?.shape.first { return index }
    guard let columns = checkedProduct(rows, 32 / (facts?.bits ?? 4)) else {
      throw bad("has \(rows) rows of words")
    }
    return columns
  }

  /// Float numbers of one of the shapes; of any if there is none.
  func numbers(
    _ ending: String, _ shape: [Int]?, or other: [Int]? = nil
  ) throws(FormatError) -> ForeignNumbers {
    let entry = try find(ending)
    if let shape, entry.shape != other { try check(entry, shape) }
    switch entry.type {
    case .named("F32"): return ForeignNumbers(entry.foreignBytes, .f32)
    case .named("F16"): return ForeignNumbers(entry.foreignBytes, .f16)
    case .named("BF16"): return ForeignNumbers(entry.foreignBytes, .bf16)
    default: throw bad("has \"\(ending.dropFirst())\" of the type \(entry.type)")
    }
  }

  /// A table of floats.
  func table(_ ending: String, _ count: Int) throws(FormatError) -> [Float] {
    let values = try numbers(ending, [count])
    return (0..<count).map { values[$0] }
  }

  /// What bitsandbytes notes about a matrix of four bits.
  struct State {
    var shape: [Int]
    var blockSize: Int
    var nestedBlockSize: Int
    var nestedOffset: Float
  }

  /// Reads the JSON in `quant_state.bitsandbytes__nf4` or `__fp4`.
  func state() throws(FormatError) -> State {
    let prefix = ".weight.quant_state.bitsandbytes__"
    guard let entry = self[prefix + "nf4"] ?? self[prefix + "fp4"] else {
      throw bad("has no quant_state of nf4 or fp4")
    }
    let value: JSONValue
    do {
      value = try JSONValue(parsing: entry.region.array())
    } catch { throw bad("has a quant_state that is not JSON: \(error.message)") }
    let shape = value["shape"]?.array?.compactMap(\.int) ?? []
    guard shape.count == 2, shape.allSatisfy({ (1...(1 << 24)).contains($0) }),
      let size = value["blocksize"]?.int, (1...(1 << 20)).contains(size)
    else { throw bad("has a quant_state without shape or blocksize") }
    let nested = value["nested_blocksize"]?.int ?? 256
    guard (1...(1 << 20)).contains(nested) else {
      throw bad("has a nested_blocksize of \(nested)")
    }
    return State(
      shape: shape, blockSize: size, nestedBlockSize: nested,
      nestedOffset: Float(value["nested_offset"]?.double ?? 0))
  }
}

extension TensorEntry {
  /// Its bytes, for the tensor layer.
  var foreignBytes: ForeignBytes {
    unsafe ForeignBytes(address: region.address, count: region.count, owner: region.owner)
  }
}
