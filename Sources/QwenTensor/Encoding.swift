/// Writing matrices in another format: a whole tensor, or a slab of its rows, split over the pool's threads.
///
/// Rows are encoded one by one: neither the number of threads nor the slab changes a byte.
extension Matrix {
  /// The rows of this matrix in `format`, in memory of their own.
  ///
  /// Call it within `WorkerPool.exclusive`. Values pass through float. Throws `TensorError.shape` if a row is
  /// no whole number of blocks or nothing writes the format, `TensorError.memory` if there is none.
  package func encoded(as format: StorageFormat, threads: Int) throws(TensorError) -> Matrix {
    guard let rowBytes = format.rowBytes(columns: columns) else {
      throw .shape("rows of \(columns) are no whole number of \(format.name) blocks")
    }
    let (size, overflow) = rowBytes.multipliedReportingOverflow(by: rows)
    guard !overflow else { throw .memory(byteCount: Int.max) }
    let target = try Buffer(byteCount: size)
    try unsafe encode(as: format, into: target.address, byteCount: size, threads: threads)
    return try unsafe Matrix(
      format: format, rows: rows, columns: columns, address: target.address, byteCount: size,
      owner: target)
  }

  /// The same into `byteCount` bytes at `target`, which must hold all rows.
  @unsafe package func encode(
    as format: StorageFormat, into target: UnsafeMutableRawPointer, byteCount: Int, threads: Int
  ) throws(TensorError) {
    guard let encode = unsafe format.encode else {
      throw .shape("nothing writes \(format.name)")
    }
    guard let rowBytes = format.rowBytes(columns: columns), rowBytes <= byteCount / rows else {
      throw .shape("[\(rows), \(columns)] \(format.name) does not fit \(byteCount) bytes")
    }
    let parts = max(1, min(threads, rows, WorkerPool.maximumThreads))
    let scratch = try FloatBuffer(count: parts * columns)
    let job = unsafe EncodeJob(
      source: self, encode: encode, target: target, rowBytes: rowBytes, scratch: scratch)
    WorkerPool.shared.run(job, parts: parts)
  }
}

/// Encodes a share of the rows a part; each part decodes into a row of floats of its own.
@safe
private struct EncodeJob: ParallelJob {
  let source: Matrix
  let encode: StorageFormat.Encode
  let target: UnsafeMutableRawPointer
  let rowBytes: Int
  let scratch: FloatBuffer

  func run(part: Int, of count: Int) {
    let values = unsafe scratch.pointer + part * source.columns
    for row in share(source.rows, part: part, of: count) {
      unsafe source.decodeRow(row, into: values)
      unsafe encode(values, target + row * rowBytes, source.columns)
    }
  }
}
