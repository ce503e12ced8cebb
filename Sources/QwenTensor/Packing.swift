internal import CQwenKernels

/// Interleaving matrices once, when they are loaded.
extension Matrix {
  /// The same matrix in its interleaved form, in memory of its own; nil if it has none.
  ///
  /// Call it within `WorkerPool.exclusive`. Throws `TensorError.memory` if there is none.
  package func packed(threads: Int) throws(TensorError) -> Matrix? {
    guard let form = format.interleavedForm, let interleaving = form.interleaving else {
      return nil
    }
    let groups = (rows + interleaving.rows - 1) / interleaving.rows
    let (size, overflow) = rowBytes.multipliedReportingOverflow(by: groups * interleaving.rows)
    guard !overflow else { throw .memory(byteCount: Int.max) }
    let target = try Buffer(byteCount: size)
    let job = unsafe PackJob(source: self, interleaving: interleaving, target: target.address)
    WorkerPool.shared.run(job, parts: max(1, min(threads, groups)))
    return try unsafe Matrix(
      format: form, rows: rows, columns: columns, address: target.address, byteCount: size,
      owner: target)
  }
}

/// Interleaves a share of the groups a part.
@safe
private struct PackJob: ParallelJob {
  let source: Matrix
  let interleaving: Interleaving
  let target: UnsafeMutableRawPointer

  func run(part: Int, of count: Int) {
    let rows = share(source.rows, part: part, of: count, unit: interleaving.rows)
    guard !rows.isEmpty else { return }
    let start = rows.lowerBound * source.rowBytes
    unsafe interleaving.pack(
      source.address + start, source.rowBytes, rows.count, source.columns, target + start)
  }
}
