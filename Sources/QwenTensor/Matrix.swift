/// A weight matrix as it lies in memory, [rows, columns], row-major: y = W x maps columns to rows.
///
/// Keeps whatever owns the bytes (a mapped file, a buffer) alive. Immutable, shared by threads.
@safe
package struct Matrix: @unchecked Sendable {
  package let format: StorageFormat
  package let rows: Int
  package let columns: Int
  /// Bytes from one row to the next.
  package let rowBytes: Int
  @unsafe package let address: UnsafeRawPointer
  private let owner: any AnyObject & Sendable

  /// `byteCount` bytes at `address`, kept alive by `owner`, must hold rows x columns elements.
  ///
  /// Throws `TensorError.shape` when they don't, or when a row is no whole number of blocks.
  package init(
    format: StorageFormat, rows: Int, columns: Int, address: UnsafeRawPointer, byteCount: Int,
    owner: any AnyObject & Sendable
  ) throws(TensorError) {
    guard rows >= 1, columns >= 1, let rowBytes = format.rowBytes(columns: columns) else {
      throw .shape(
        "[\(rows), \(columns)] has no whole number of \(format.name) blocks of "
          + "\(format.blockElements) in a row")
    }
    let (needed, overflow) = rowBytes.multipliedReportingOverflow(by: format.wholeGroups(rows))
    guard !overflow, needed <= byteCount else {
      throw .shape("[\(rows), \(columns)] \(format.name) needs more than \(byteCount) bytes")
    }
    self.format = format
    self.rows = rows
    self.columns = columns
    self.rowBytes = rowBytes
    unsafe self.address = address
    self.owner = owner
  }

  /// Bytes of all rows, and of those that fill up the last group.
  package var byteCount: Int { format.wholeGroups(rows) * rowBytes }

  /// The rows of `range` as a matrix of their own, sharing the bytes; interleaved ones begin with a group.
  package func rows(_ range: Range<Int>) throws(TensorError) -> Matrix {
    guard range.lowerBound >= 0, range.upperBound <= rows, !range.isEmpty,
      range.lowerBound % format.groupRows == 0
    else {
      throw .shape("rows \(range) of a matrix of \(rows)")
    }
    return try unsafe Matrix(
      format: format, rows: range.count, columns: columns,
      address: address + range.lowerBound * rowBytes,
      byteCount: format.wholeGroups(range.count) * rowBytes, owner: owner)
  }

  /// Decodes row `row` to `columns` floats at `target`. The caller has checked `row`.
  @unsafe package func decodeRow(_ row: Int, into target: UnsafeMutablePointer<Float>) {
    if let interleaving = format.interleaving {
      let inside = row % interleaving.rows
      unsafe interleaving.decode(address + (row - inside) * rowBytes, inside, target, columns)
    } else {
      unsafe format.decode(address + row * rowBytes, target, columns)
    }
  }

  /// The matrices one below the other without a copy, where they lie so in memory; nil where they don't.
  package static func joined(_ parts: [Matrix]) -> Matrix? {
    guard let first = parts.first else { return nil }
    var rows = first.rows
    for part in parts.dropFirst() {
      guard part.format.name == first.format.name, part.columns == first.columns,
        rows % first.format.groupRows == 0,
        unsafe part.address == first.address + rows * first.rowBytes, part.owner === first.owner
      else { return nil }
      rows += part.rows
    }
    return try? unsafe Matrix(
      format: first.format, rows: rows, columns: first.columns, address: first.address,
      byteCount: first.format.wholeGroups(rows) * first.rowBytes, owner: first.owner)
  }

  /// Hands the memory of rows that are not needed for now back to the system, where they are pages of a file.
  package func releasePages(_ rows: Range<Int>) {
    guard let owner = owner as? any PageOwner else { return }
    unsafe owner.releasePages(
      address + rows.lowerBound * rowBytes, byteCount: rows.count * rowBytes)
  }

  /// Makes the rows, where their owner makes them on demand: until then they are zeros. With one
  /// thread also within `WorkerPool.exclusive`, with more not.
  package func fetchPages(threads: Int) {
    guard let owner = owner as? any PageOwner else { return }
    unsafe owner.fetchPages(address, byteCount: byteCount, threads: threads)
  }

  /// Whether rows are there only once they were fetched.
  package var isDeferred: Bool { (owner as? any PageOwner)?.isDeferred ?? false }

  /// The memory of the process that the bytes are in; nil for those of a file.
  var buffer: Buffer? { owner as? Buffer }

  /// Whether the bytes are those of a file, which the system can drop and fetch again.
  package var isMapped: Bool { (owner as? any PageOwner)?.isMapped ?? false }

  /// Every element decoded, for tests and small vectors.
  package func decoded() throws(TensorError) -> FloatBuffer {
    let values = try FloatBuffer(count: rows * columns)
    for row in 0..<rows {
      unsafe decodeRow(row, into: values.pointer + row * columns)
    }
    return values
  }
}
