internal import QwenFormats
package import QwenTensor

/// Hands out the tensors of a checkpoint as matrices and vectors, each checked against the size the
/// configuration asks for, as they lie in the files.
struct WeightSource {
  let archive: TensorArchive
  /// The layers that another program quantised.
  let foreign: ForeignWeights

  /// Whether the checkpoint has a tensor of that name.
  func has(_ name: String) -> Bool { archive[name] != nil }

  /// The matrix `name`, [rows, columns], sharing the bytes of its file.
  func matrix(
    _ name: String, rows: Int, columns: Int
  ) throws(FormatError) -> Matrix {
    try matrix(name, shape: [rows, columns], rows: rows, columns: columns)
  }

  /// The matrices of a tensor [count, rows, columns], one below the other.
  func matrices(
    _ name: String, count: Int, rows: Int, columns: Int
  ) throws(FormatError) -> Matrix {
    try matrix(name, shape: [count, rows, columns], rows: count * rows, columns: columns)
  }

  /// The layer `name` of one output, [1, columns]; some files hold it as a vector.
  func row(_ name: String, columns: Int) throws(FormatError) -> Linear {
    let isVector = archive[name + ".weight"]?.shape == [columns]
    let weight = try matrix(
      name + ".weight", shape: isVector ? [columns] : [1, columns], rows: 1, columns: columns)
    do {
      return try Linear(weight)
    } catch {
      throw FormatError(error, path: archive.path, what: "tensor \"\(escaped(name))\"")
    }
  }

  private func matrix(
    _ name: String, shape: [Int], rows: Int, columns: Int
  ) throws(FormatError) -> Matrix {
    let entry = try find(name)
    guard entry.shape == shape else { throw wrongShape(entry, shape) }
    let format = try StorageFormat.of(entry)
    do {
      return try unsafe Matrix(
        format: format, rows: rows, columns: columns, address: entry.region.address,
        byteCount: entry.region.count, owner: entry.region.owner)
    } catch {
      throw FormatError(error, path: entry.region.owner.path, what: "tensor \"\(escaped(name))\"")
    }
  }

  /// The vector `name` of `count` values, decoded to float.
  func vector(_ name: String, count: Int) throws(FormatError) -> FloatBuffer {
    let entry = try find(name)
    guard entry.shape == [count] || entry.shape == [1, count] else {
      throw wrongShape(entry, [count])
    }
    let format = try StorageFormat.of(entry)
    do {
      let matrix = try unsafe Matrix(
        format: format, rows: 1, columns: count, address: entry.region.address,
        byteCount: entry.region.count, owner: entry.region.owner)
      return try matrix.decoded()
    } catch {
      throw FormatError(error, path: entry.region.owner.path, what: "tensor \"\(escaped(name))\"")
    }
  }

  /// `name`.weight and, if wanted, `name`.bias as one layer.
  func linear(
    _ name: String, rows: Int, columns: Int, bias: Bias = .never
  ) throws(FormatError) -> Linear {
    if let found = try foreign.matrix(name, rows: rows, columns: columns) {
      return try linear(found, name, bias: bias)
    }
    let weight = try matrix(name + ".weight", rows: rows, columns: columns)
    let values = try self.bias(name, count: rows, bias)
    let order = try order(name)
    do {
      return try Linear(weight, bias: values, order: order)
    } catch {
      throw FormatError(error, path: archive.path, what: "layer \"\(escaped(name))\"")
    }
  }

  /// The order in which a layer of a folder of ours takes its inputs; nil for their own.
  private func order(_ name: String) throws(FormatError) -> InputOrder? {
    guard let entry = archive[name + TensorNames.order] else { return nil }
    guard entry.type == .named("I32"), entry.shape.count == 1 else {
      throw FormatError(
        .malformed, path: entry.region.owner.path,
        "tensor \"\(escaped(entry.name))\" is no list of integers")
    }
    let places = entry.foreignBytes
    do {
      return try InputOrder((0..<entry.shape[0]).map { places.integer($0) })
    } catch {
      throw FormatError(
        error, path: entry.region.owner.path, what: "tensor \"\(escaped(entry.name))\"")
    }
  }

  /// Whether a layer has a bias.
  enum Bias { case never, ifPresent, always }

  /// The bias of a layer, if it has one.
  ///
  /// Some programs leave a bias for every layer, of zeros where the family has none; one that is not counts, as it does
  /// for them, also in what was converted from their files.
  func bias(_ name: String, count: Int, _ bias: Bias) throws(FormatError) -> FloatBuffer? {
    guard bias == .always || has(name + ".bias") else { return nil }
    let values = try vector(name + ".bias", count: count)
    let isStray = bias == .never && values.array().allSatisfy { $0 == 0 }
    return isStray ? nil : values
  }

  private func find(_ name: String) throws(FormatError) -> TensorEntry {
    if let entry = archive[name] { return entry }
    throw FormatError(
      .malformed, path: archive.path, "has no tensor \"\(escaped(name))\"",
      hint: "the configuration and the weights don't belong together, or a shard is missing")
  }

  private func wrongShape(_ entry: TensorEntry, _ wanted: [Int]) -> FormatError {
    FormatError(
      .malformed, path: entry.region.owner.path,
      "tensor \"\(escaped(entry.name))\" is \(entry.shape), but the configuration asks for \(wanted)"
    )
  }
}

extension FormatError {
  /// A failure of the tensor layer while weights of `path` were prepared.
  package init(_ error: TensorError, path: String, what: String) {
    switch error {
    case .memory(let count):
      self.init(.memory, path: path, "there is no memory for the \(count) bytes of \(what)")
    case .shape(let text): self.init(.malformed, path: path, "\(what): \(text)")
    case .cancelled, .deadline: self.init(.cancelled, path: path, "\(what): stopped")
    }
  }
}
