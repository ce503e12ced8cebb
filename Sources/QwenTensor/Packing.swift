internal import CQwenKernels

/// Which matrices are interleaved when a model is loaded.
package enum PackingRule: Sendable {
  /// Those of formats that are faster so on this processor.
  case whereFaster
  /// All that have an interleaved form.
  case all

  package func wants(_ format: StorageFormat) -> Bool {
    guard let interleaving = format.interleavedForm?.interleaving else { return false }
    return self == .all || interleaving.pays(qk_cpu_isa())
  }
}

/// Interleaving matrices once, when they are loaded.
extension Matrix {
  /// The same matrix in its interleaved form; nil if it has none or the rule says no.
  ///
  /// What lies in a `Buffer` is interleaved there, if rows are whole groups: then no other matrix may use these rows.
  /// Else the result has memory of its own. Call it within `WorkerPool.exclusive`. Throws `TensorError.memory` if there
  /// is none.
  package func packed(
    threads: Int, _ rule: PackingRule = .all
  ) throws(TensorError) -> Matrix? {
    guard rule.wants(format), let form = format.interleavedForm,
      let interleaving = form.interleaving
    else {
      return nil
    }
    let groups = (rows + interleaving.rows - 1) / interleaving.rows
    let parts = max(1, min(threads, groups, WorkerPool.maximumThreads))
    if let buffer, rows % interleaving.rows == 0 {
      let scratch = try Buffer(byteCount: parts * interleaving.rows * rowBytes)
      let job = unsafe PackJob(
        source: self, interleaving: interleaving,
        target: buffer.address + (address - UnsafeRawPointer(buffer.address)), scratch: scratch)
      WorkerPool.shared.run(job, parts: parts)
      return try unsafe Matrix(
        format: form, rows: rows, columns: columns, address: address, byteCount: byteCount,
        owner: buffer)
    }
    let (size, overflow) = rowBytes.multipliedReportingOverflow(by: groups * interleaving.rows)
    guard !overflow else { throw .memory(byteCount: Int.max) }
    let target = try Buffer(byteCount: size, isDense: true)
    let job = unsafe PackJob(
      source: self, interleaving: interleaving, target: target.address, scratch: nil)
    WorkerPool.shared.run(job, parts: parts)
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
  /// Where the target is the source: a group a part.
  let scratch: Buffer?

  func run(part: Int, of count: Int) {
    let rows = share(source.rows, part: part, of: count, unit: interleaving.rows)
    guard !rows.isEmpty else { return }
    guard let scratch else {
      let start = rows.lowerBound * source.rowBytes
      return unsafe interleaving.pack(
        source.address + start, source.rowBytes, rows.count, source.columns, target + start)
    }
    let size = interleaving.rows * source.rowBytes
    let group = unsafe scratch.address + part * size
    for first in stride(from: rows.lowerBound, to: rows.upperBound, by: interleaving.rows) {
      let start = first * source.rowBytes
      unsafe group.copyMemory(from: source.address + start, byteCount: size)
      unsafe interleaving.pack(
        group, source.rowBytes, interleaving.rows, source.columns, target + start)
    }
  }
}
