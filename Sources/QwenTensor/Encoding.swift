/// Writing matrices in another format: a whole tensor, or a slab of its rows, split over the pool's threads.
///
/// Rows are encoded one by one: neither the number of threads nor the slab changes a byte. One format is the
/// exception and is written matrix by matrix: `nf4Double`.
extension Matrix {
  /// How much an encoder tries.
  package enum Effort: Sendable {
    /// The format's own rounding: byte for byte that of gguf or bitsandbytes, where they write it.
    case plain
    /// The least squared error that a search finds; 20 to 60 ns a weight on one thread. Formats that leave
    /// nothing to find are rounded plainly.
    case best
  }

  /// The rows of this matrix in `format`, in memory of their own.
  ///
  /// `importance` [columns]: with `.best`, the weight of each column's squared error, positive; nil for ones.
  /// Call it within `WorkerPool.exclusive`. Values pass through float. Throws `TensorError.shape` if a row is
  /// no whole number of blocks or nothing writes the format, `TensorError.memory` if there is none.
  package func encoded(
    as format: StorageFormat, effort: Effort = .plain, importance: FloatBuffer? = nil, threads: Int
  ) throws(TensorError) -> Matrix {
    guard let rowBytes = format.rowBytes(columns: columns) else {
      throw .shape("rows of \(columns) are no whole number of \(format.name) blocks")
    }
    let (size, overflow) = rowBytes.multipliedReportingOverflow(by: rows)
    guard !overflow else { throw .memory(byteCount: Int.max) }
    let target = try Buffer(byteCount: size)
    try unsafe encode(
      as: format, effort: effort, importance: importance, into: target.address, byteCount: size,
      threads: threads)
    return try unsafe Matrix(
      format: format, rows: rows, columns: columns, address: target.address, byteCount: size,
      owner: target)
  }

  /// The same into `byteCount` bytes at `target`, which must hold all rows. With an `order` each value goes to the
  /// place of its input.
  @unsafe package func encode(
    as format: StorageFormat, effort: Effort = .plain, importance: FloatBuffer? = nil,
    order: InputOrder? = nil, into target: UnsafeMutableRawPointer, byteCount: Int, threads: Int
  ) throws(TensorError) {
    guard format.isWritable else { throw .shape("nothing writes \(format.name)") }
    guard let rowBytes = format.rowBytes(columns: columns), rowBytes <= byteCount / rows else {
      throw .shape("[\(rows), \(columns)] \(format.name) does not fit \(byteCount) bytes")
    }
    guard importance.map({ $0.count >= columns }) ?? true else {
      throw .shape("the importance of \(columns) columns has fewer numbers")
    }
    guard order.map({ $0.count == columns }) ?? true else {
      throw .shape("an order of \(order?.count ?? 0) for \(columns) inputs")
    }
    let source = FloatRows(matrix: self, order: order)
    if let encodeMatrix = unsafe format.encodeMatrix {
      return try unsafe encodeMatrix(source, effort, importance, target, threads)
    }
    let parts = max(1, min(threads, rows, WorkerPool.maximumThreads))
    let scratch = try FloatBuffer(count: parts * source.scratchCount)
    let job = unsafe EncodeJob(
      source: source, format: format, effort: effort, importance: importance, target: target,
      rowBytes: rowBytes, scratch: scratch)
    WorkerPool.shared.run(job, parts: parts)
  }
}

/// The rows of a matrix as floats, each value at the place of its input.
struct FloatRows: Sendable {
  let matrix: Matrix
  let order: InputOrder?

  var rows: Int { matrix.rows }
  var columns: Int { matrix.columns }
  /// Floats that `decode` needs.
  var scratchCount: Int { order == nil ? columns : 2 * columns }

  /// Decodes row `row` to the first `columns` of `scratchCount` floats. The caller has checked `row`.
  @unsafe func decode(_ row: Int, into values: UnsafeMutablePointer<Float>) {
    guard let order else { return unsafe matrix.decodeRow(row, into: values) }
    let sorted = unsafe values + columns
    unsafe matrix.decodeRow(row, into: sorted)
    unsafe order.scatter(sorted, into: values)
  }
}

/// Encodes a share of the rows a part; each part decodes into a row of floats of its own.
@safe
private struct EncodeJob: ParallelJob {
  let source: FloatRows
  let format: StorageFormat
  let effort: Matrix.Effort
  let importance: FloatBuffer?
  let target: UnsafeMutableRawPointer
  let rowBytes: Int
  let scratch: FloatBuffer

  func run(part: Int, of count: Int) {
    let values = unsafe scratch.pointer + part * source.scratchCount
    let weights = unsafe importance?.pointer
    for row in share(source.rows, part: part, of: count) {
      unsafe source.decode(row, into: values)
      let bytes = unsafe target + row * rowBytes
      if effort == .best, let encode = unsafe format.encodeBest {
        unsafe encode(values, weights, bytes, source.columns)
      } else if let encode = unsafe format.encode {
        unsafe encode(values, bytes, source.columns)
      }
    }
  }
}
