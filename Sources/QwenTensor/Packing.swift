internal import CQwenKernels

/// Which matrices are interleaved.
package enum PackingRule: Sendable {
  /// Those of formats that are faster so on this processor; the ones that are pages of a file between the steps of
  /// runs, others when they are read.
  case whereFaster
  /// All that have an interleaved form, when they are read.
  case all

  package func wants(_ format: StorageFormat) -> Bool {
    guard let interleaving = format.interleavedForm?.interleaving else { return false }
    return self == .all || interleaving.pays(qk_cpu_isa())
  }
}

extension Matrix {
  /// Whether `packedInPlace` can serve: the rows lie in a `Buffer`, and are whole groups.
  package var packsInPlace: Bool {
    guard buffer != nil, let interleaving = format.interleavedForm?.interleaving else {
      return false
    }
    return rows % interleaving.rows == 0
  }

  /// The same matrix interleaved where its rows lie: no other matrix may use these. Nil unless `packsInPlace`.
  ///
  /// Call it within `WorkerPool.exclusive`. Throws `TensorError.memory` if there is none for a group a thread.
  package func packedInPlace(threads: Int) throws(TensorError) -> Matrix? {
    guard packsInPlace, let buffer, let form = format.interleavedForm,
      let interleaving = form.interleaving
    else { return nil }
    let parts = max(1, min(threads, rows / interleaving.rows, WorkerPool.maximumThreads))
    let scratch = try Buffer(byteCount: parts * interleaving.rows * rowBytes)
    let job = unsafe PackJob(
      source: self, rows: 0..<rows, interleaving: interleaving,
      target: buffer.address + (address - UnsafeRawPointer(buffer.address)), scratch: scratch)
    WorkerPool.shared.run(job, parts: parts)
    return try unsafe Matrix(
      format: form, rows: rows, columns: columns, address: address, byteCount: byteCount,
      owner: buffer)
  }

  /// The same matrix interleaved in memory of its own; nil if it has no such form. Call it within
  /// `WorkerPool.exclusive`. Throws `TensorError.memory` if there is none.
  package func packed(threads: Int) throws(TensorError) -> Matrix? {
    guard var packing = try MatrixPacking([self]) else { return nil }
    while try !packing.advance(threads: threads) {}
    return packing.packed.first
  }
}

/// Interleaving matrices into memory of their own, a piece at a time; until all are done their rows serve.
///
/// They lie in one buffer, so that small ones are on large pages too.
package struct MatrixPacking: Sendable {
  private struct Entry {
    let source: Matrix
    let form: StorageFormat
    let interleaving: Interleaving
    let offset: Int
    let byteCount: Int
  }

  private let entries: [Entry]
  private let target: Buffer
  private var rowsDone = 0
  /// The interleaved forms of those that are done, in the order of the matrices.
  package private(set) var packed: [Matrix] = []

  /// Bytes of a piece: below a millisecond even where the system has to clear the pages first.
  private static let piece = 1 << 20
  private static let alignment = 64

  /// Bytes that interleaving `matrices` takes; nil if one has no interleaved form, `Int.max` beyond any memory.
  package static func byteCount(_ matrices: [Matrix]) -> Int? {
    var sum = 0
    for matrix in matrices {
      guard let bytes = bytes(matrix) else { return nil }
      let (next, overflow) = sum.addingReportingOverflow(bytes)
      if overflow { return Int.max }
      sum = next
    }
    return sum
  }

  /// Bytes of the form, up to where the next may begin.
  private static func bytes(_ matrix: Matrix) -> Int? {
    guard let form = matrix.format.interleavedForm else { return nil }
    let (bytes, overflow) = matrix.rowBytes.multipliedReportingOverflow(
      by: form.wholeGroups(matrix.rows))
    guard !overflow, bytes <= Int.max - alignment else { return Int.max }
    return (bytes + alignment - 1) / alignment * alignment
  }

  /// Nil if there are none, or one has no interleaved form. Throws `TensorError.memory` if there is none.
  package init?(_ matrices: [Matrix]) throws(TensorError) {
    guard !matrices.isEmpty, let sum = Self.byteCount(matrices) else { return nil }
    guard sum < Int.max else { throw .memory(byteCount: sum) }
    var entries: [Entry] = []
    var offset = 0
    for matrix in matrices {
      guard let form = matrix.format.interleavedForm, let interleaving = form.interleaving,
        let bytes = Self.bytes(matrix)
      else { return nil }
      entries.append(
        Entry(
          source: matrix, form: form, interleaving: interleaving, offset: offset,
          byteCount: form.wholeGroups(matrix.rows) * matrix.rowBytes))
      offset += bytes
    }
    self.entries = entries
    target = try Buffer(byteCount: sum, isDense: true)
  }

  /// Interleaves the next piece; true once all is done. Call it within `WorkerPool.exclusive`.
  package mutating func advance(threads: Int) throws(TensorError) -> Bool {
    guard packed.count < entries.count else { return true }
    let entry = entries[packed.count]
    let (source, unit) = (entry.source, entry.interleaving.rows)
    let count = max(1, Self.piece / (unit * source.rowBytes)) * unit
    let rows = rowsDone..<min(source.rows, rowsDone + count)
    let parts = max(1, min(threads, (rows.count + unit - 1) / unit, WorkerPool.maximumThreads))
    let job = unsafe PackJob(
      source: source, rows: rows, interleaving: entry.interleaving,
      target: target.address + entry.offset, scratch: nil)
    WorkerPool.shared.run(job, parts: parts)
    rowsDone = rows.upperBound
    guard rowsDone == source.rows else { return false }
    packed.append(
      try unsafe Matrix(
        format: entry.form, rows: source.rows, columns: source.columns,
        address: target.address + entry.offset, byteCount: entry.byteCount, owner: target))
    rowsDone = 0
    return packed.count == entries.count
  }
}

/// Interleaves a share of the groups a part.
@safe
private struct PackJob: ParallelJob {
  let source: Matrix
  /// Those that are interleaved, from the beginning of a group on.
  let rows: Range<Int>
  let interleaving: Interleaving
  let target: UnsafeMutableRawPointer
  /// Where the target is the source: a group a part.
  let scratch: Buffer?

  func run(part: Int, of count: Int) {
    let own = share(rows.count, part: part, of: count, unit: interleaving.rows)
    guard !own.isEmpty else { return }
    let first = rows.lowerBound + own.lowerBound
    guard let scratch else {
      let start = first * source.rowBytes
      return unsafe interleaving.pack(
        source.address + start, source.rowBytes, own.count, source.columns, target + start)
    }
    let size = interleaving.rows * source.rowBytes
    let group = unsafe scratch.address + part * size
    for row in stride(from: first, to: first + own.count, by: interleaving.rows) {
      let start = row * source.rowBytes
      unsafe group.copyMemory(from: source.address + start, byteCount: size)
      unsafe interleaving.pack(
        group, source.rowBytes, interleaving.rows, source.columns, target + start)
    }
  }
}
