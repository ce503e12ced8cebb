/// Who owns bytes that can be had again: those of a mapped file, or of rows made on demand. Their pages may be handed
/// back.
package protocol PageOwner: AnyObject, Sendable {
  /// Whether the bytes are mapped at all; what was copied can't be fetched again.
  var isMapped: Bool { get }
  /// Whether rows have to be fetched before they are touched.
  var isDeferred: Bool { get }
  /// Hands back the whole pages within `byteCount` bytes at `address`; touching them fetches them again.
  func releasePages(_ address: UnsafeRawPointer, byteCount: Int)
  /// Makes the rows that touch `byteCount` bytes at `address`, where they don't come by themselves when touched.
  func fetchPages(_ address: UnsafeRawPointer, byteCount: Int, threads: Int)
}

extension PageOwner {
  package var isDeferred: Bool { false }
  package func fetchPages(_ address: UnsafeRawPointer, byteCount: Int, threads: Int) {}
}

/// Brings matrices into other storage formats, a slab of rows at a time, on the pool's threads.
///
/// Needs the memory of the result and a row of floats a thread; mapped source pages are handed back behind each
/// slab. Rows are encoded one by one but for the formats that are made of a whole matrix, so the result does not depend on the number of threads. One thread at a time.
package final class Converter: Sendable {
  package let threads: Int
  private let effort: Matrix.Effort

  /// Called after each slab with the bytes of source that were read for it; false stops.
  package typealias Report = (Int) -> Bool

  /// Elements in a slab: some tens of milliseconds of work.
  private static let slabElements = 1 << 21

  package init(threads: Int, effort: Matrix.Effort = .plain) {
    self.threads = max(1, threads)
    self.effort = effort
    WorkerPool.shared.retain()
  }

  deinit { WorkerPool.shared.release() }

  /// Rows of a slab: whole groups of any interleaved form.
  package static func slabRows(columns: Int) -> Int {
    max(1, slabElements / max(1, columns) / 16) * 16
  }

  /// `matrix` in `format`, in memory of its own; with an `order` the values are put at the places of their inputs,
  /// but for rows that are only copied. `importance` [columns] weighs errors where an encoder looks for the least.
  ///
  /// Throws `.memory`, `.shape` if rows are no whole number of blocks, `.cancelled` if `report` returns false.
  package func convert(
    _ matrix: Matrix, order: InputOrder? = nil, to format: StorageFormat,
    importance: FloatBuffer? = nil, report: Report? = nil
  ) throws(TensorError) -> Matrix {
    guard let rowBytes = format.rowBytes(columns: matrix.columns) else {
      throw .shape(
        "[\(matrix.rows), \(matrix.columns)] has no whole number of \(format.name) blocks of "
          + "\(format.blockElements) in a row")
    }
    let (count, overflow) = rowBytes.multipliedReportingOverflow(
      by: format.wholeGroups(matrix.rows))
    guard !overflow else { throw .memory(byteCount: Int.max) }
    let buffer = try Buffer(byteCount: count)
    // Some formats are made of a whole matrix.
    let step = format.isWhole ? matrix.rows : Self.slabRows(columns: matrix.columns)
    var first = 0
    while first < matrix.rows {
      let rows = first..<min(first + step, matrix.rows)
      try unsafe encode(
        matrix, order: order, rows: rows, to: format, importance: importance,
        into: buffer.address + first * rowBytes)
      if let report, !report(rows.count * matrix.rowBytes) { throw .cancelled }
      first = rows.upperBound
    }
    return try unsafe Matrix(
      format: format, rows: matrix.rows, columns: matrix.columns, address: buffer.address,
      byteCount: count, owner: buffer)
  }

  /// Encodes rows `rows` of `matrix` to `target`, which has room for so many rows of `format`, in whole groups.
  ///
  /// Rows that are in the format already are copied. With an `order`, the others get their values in the order of
  /// inputs. The source's pages are handed back afterwards. Throws `.shape` if the rows don't exist or the format can't
  /// hold or write them.
  @unsafe package func encode(
    _ matrix: Matrix, order: InputOrder? = nil, rows: Range<Int>, to format: StorageFormat,
    importance: FloatBuffer? = nil, into target: UnsafeMutableRawPointer
  ) throws(TensorError) {
    guard rows.lowerBound >= 0, rows.upperBound <= matrix.rows, !rows.isEmpty,
      let rowBytes = format.rowBytes(columns: matrix.columns)
    else { throw .shape("rows \(rows) of [\(matrix.rows), \(matrix.columns)] as \(format.name)") }
    let slab = try matrix.rows(rows)
    slab.fetchPages(threads: threads)
    if format.name == matrix.format.name {
      unsafe target.copyMemory(from: slab.address, byteCount: slab.byteCount)
    } else {
      try WorkerPool.shared.exclusive { () throws(TensorError) in
        try unsafe slab.encode(
          as: format, effort: effort, importance: importance, order: order, into: target,
          byteCount: rows.count * rowBytes, threads: threads)
      }
    }
    matrix.releasePages(rows)
  }
}
