internal import QwenFormats
internal import QwenModel
internal import QwenTensor

/// One tensor of a file in the making, with the format it gets.
struct PlannedTensor {
  let tensor: ExportTensor
  /// Nil for integers.
  let format: StorageFormat?
  /// Shape in the file, outermost first.
  let shape: [Int]
  let byteCount: Int
  /// The interleaved form in which rows are written; nil for rows as they are.
  let form: StorageFormat?

  /// Name and element type in safetensors files.
  var noted: (name: String, type: String?) {
    guard let format else { return ("", "I32") }
    return form.map { ($0.name, nil) } ?? (format.name, format.safetensorsType)
  }

  /// Chooses the format; `packing` says which are interleaved.
  ///
  /// Throws `.unsupported` where `isFit` allows none, `.malformed` for sizes that overflow.
  init(
    _ tensor: ExportTensor, _ policy: WeightPolicy, path: String,
    where isFit: (StorageFormat) -> Bool, routers: StorageFormat?, packing: PackingRule? = nil
  ) throws(FormatError) {
    self.tensor = tensor
    shape = tensor.shape
    switch tensor.source {
    case .vector(let values):
      format = .f32
      byteCount = values.count * 4
      form = nil
    case .order(let order, _):
      format = nil
      byteCount = order.count * 4
      form = nil
    case .rows(let pieces, let part):
      let (stored, columns) = (pieces[0].matrix.format, pieces[0].matrix.columns)
      let chosen =
        part == .router
        ? routers ?? stored
        : policy.format(part, stored: stored, columns: columns, where: isFit)
      let rows = tensor.rowCount
      guard isFit(chosen) else {
        throw FormatError(
          .unsupported, path: path,
          "tensor \"\(escaped(tensor.name))\" is stored as \(stored.name), which such a file can't hold",
          hint: "name a format with \"weights\", \"head\" and \"embeddings\"")
      }
      guard let rowBytes = chosen.rowBytes(columns: columns),
        let bytes = checkedProduct(rowBytes, rows)
      else {
        throw FormatError(
          .malformed, path: path,
          "tensor \"\(escaped(tensor.name))\" of \(tensor.shape) does not fit \(chosen.name)")
      }
      format = chosen
      byteCount = bytes
      // Groups have to be whole, wherever rows are taken apart.
      let candidate =
        packing?.wants(chosen) == true && (part == .layers || part == .head)
        ? chosen.interleavedForm : nil
      let group = candidate?.groupRows ?? 1
      form = pieces.allSatisfy { $0.matrix.rows % group == 0 } ? candidate : nil
    }
  }

  /// Bytes that are read for it.
  var sourceBytes: Int {
    switch tensor.source {
    case .vector(let values): values.count * 4
    case .order(let order, _): order.count * 4
    case .rows(let pieces, _): pieces.reduce(0) { $0 + $1.matrix.byteCount }
    }
  }

  /// Whether an encoder that looks for the least error is asked.
  var usesImportance: Bool {
    guard case .rows(let pieces, _) = tensor.source, let format else { return false }
    return format.usesImportance && pieces.contains { $0.matrix.format.name != format.name }
  }

  /// Whether rows are written as they lie in memory, in an order of inputs that another tensor has to tell.
  var keepsOrder: Bool {
    guard case .rows(let pieces, _) = tensor.source, let piece = pieces.first else { return false }
    return piece.order != nil && format?.name == piece.matrix.format.name
  }
}

/// Encodes tensors a slab at a time and hands the bytes on.
struct TensorStream {
  let converter: Converter
  /// Weighs errors, where encoders look for the least.
  let meter: InputMeter?
  let path: String
  /// Hears of source bytes; false stops.
  let report: (Int) -> Bool

  typealias Sink = (UnsafeRawBufferPointer) throws(FormatError) -> Void

  /// Hands the bytes of `planned` to `sink` in order.
  func write(_ planned: PlannedTensor, _ sink: Sink) throws(FormatError) {
    switch planned.tensor.source {
    case .vector(let values):
      try unsafe sink(UnsafeRawBufferPointer(start: values.pointer, count: values.count * 4))
      try advance(values.count * 4)
    case .order(let order, _):
      try unsafe order.withBytes { (bytes) throws(FormatError) in try unsafe sink(bytes) }
      try advance(order.count * 4)
    case .rows(let pieces, _):
      guard let format = planned.format else { return }
      for piece in pieces { try unsafe write(piece, format, planned, sink) }
    }
  }

  private func write(
    _ piece: ExportTensor.Piece, _ format: StorageFormat, _ planned: PlannedTensor, _ sink: Sink
  ) throws(FormatError) {
    let matrix = piece.matrix
    let what = "tensor \"\(escaped(planned.tensor.name))\""
    let rowBytes = planned.byteCount / max(1, planned.tensor.rowCount)
    // Heads that are interleaved are written whole.
    let head = planned.tensor.interleavedHeads.map { matrix.rows / $0 }
    let step =
      format.isWhole ? matrix.rows : head ?? Converter.slabRows(columns: matrix.columns)
    do {
      let importance = try meter?.importance(matrix)
      let slab = try Buffer(byteCount: min(step, matrix.rows) * rowBytes)
      let groups = try planned.form.map { _ throws(TensorError) in
        try Buffer(byteCount: slab.byteCount)
      }
      var first = 0
      while first < matrix.rows {
        let rows = first..<min(first + step, matrix.rows)
        try unsafe converter.encode(
          matrix, order: piece.order, rows: rows, to: format, importance: importance,
          into: slab.address)
        if let groups, let interleaving = planned.form?.interleaving {
          unsafe interleaving.pack(
            slab.address, rowBytes, rows.count, matrix.columns, groups.address)
          try unsafe sink(
            UnsafeRawBufferPointer(start: groups.address, count: rows.count * rowBytes))
        } else if let head {
          // Rows j and j + D/2 of a head come to lie beside each other.
          for row in 0..<head {
            let source = row % 2 * (head / 2) + row / 2
            try unsafe sink(
              UnsafeRawBufferPointer(start: slab.address + source * rowBytes, count: rowBytes))
          }
        } else {
          try unsafe sink(
            UnsafeRawBufferPointer(start: slab.address, count: rows.count * rowBytes))
        }
        try advance(rows.count * matrix.rowBytes)
        first = rows.upperBound
      }
    } catch let error as TensorError {
      throw FormatError(error, path: path, what: what)
    } catch let error as FormatError {
      throw error
    } catch {
      throw FormatError(.io, path: path, "\(what): \(error)")
    }
  }

  private func advance(_ bytes: Int) throws(FormatError) {
    guard report(bytes) else {
      throw FormatError(.cancelled, path: path, "the conversion was stopped")
    }
  }
}

extension ExportTensor {
  /// Rows of all matrices; the count of a vector.
  var rowCount: Int {
    switch source {
    case .vector(let values): values.count
    case .order(let order, _): order.count
    case .rows(let pieces, _): pieces.reduce(0) { $0 + $1.matrix.rows }
    }
  }
}
