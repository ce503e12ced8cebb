/// A matrix as another program quantised it, read from its files, and how it becomes one of ours.
///
/// `decode` is the published formula, value by value; `fill` writes blocks that decode to the same values.
package protocol ForeignMatrix: Sendable {
  var rows: Int { get }
  var columns: Int { get }
  /// The block format that holds the values exactly; F32 where none does.
  var format: StorageFormat { get }
  /// Which column of the matrix stands at each place of `fill`'s rows; nil for all at their own. `decode` does not
  /// know of it.
  var order: [Int32]? { get }
  /// The bytes that hold its codes.
  var codes: ForeignBytes { get }
  /// Decodes row `row` to `columns` floats. The caller has checked `row`.
  @unsafe func decode(row: Int, into target: UnsafeMutablePointer<Float>)
  /// Writes the rows of `range` in `format`, one every `rowBytes`. Not asked for F32.
  @unsafe func fill(_ range: Range<Int>, into target: UnsafeMutableRawPointer, rowBytes: Int)
}

extension ForeignMatrix {
  package var order: [Int32]? { nil }

  /// Bytes of all rows in `format`; nil if they don't fit an Int.
  package var byteCount: Int? {
    guard let rowBytes = format.rowBytes(columns: columns) else { return nil }
    let (bytes, overflow) = rowBytes.multipliedReportingOverflow(by: rows)
    return overflow ? nil : bytes
  }

  /// The matrix in memory of its own, written a few rows at a time on `threads` threads.
  ///
  /// `isGoingOn` is asked between slabs of rows with the number of those that are done.
  package func matrix(
    threads: Int, isGoingOn: (_ rows: Int) -> Bool = { _ in true }
  ) throws(TensorError) -> Matrix {
    guard let rowBytes = format.rowBytes(columns: columns), let byteCount else {
      throw .shape("[\(rows), \(columns)] is too large")
    }
    let buffer = try Buffer(byteCount: byteCount)
    WorkerPool.shared.retain()
    defer { WorkerPool.shared.release() }
    var first = 0
    while first < rows {
      let last = min(rows, first + max(1, threads) * 256)
      let slab = first..<last
      make(slab, in: buffer, rowBytes: rowBytes, threads: threads)
      guard isGoingOn(slab.count) else { throw .cancelled }
      first = last
    }
    return try unsafe Matrix(
      format: format, rows: rows, columns: columns, address: UnsafeRawPointer(buffer.address),
      byteCount: byteCount, owner: buffer)
  }

  /// The matrix as addresses of rows that are made when they are asked for, so that it takes the memory of those in
  /// use: for conversions, which go through it once, a slab at a time (`Matrix.fetchPages`).
  package func deferred() throws(TensorError) -> Matrix {
    guard let rowBytes = format.rowBytes(columns: columns), let byteCount else {
      throw .shape("[\(rows), \(columns)] is too large")
    }
    let owner = DeferredRows(self, rowBytes: rowBytes, try Buffer(byteCount: byteCount))
    return try unsafe Matrix(
      format: format, rows: rows, columns: columns, address: owner.address, byteCount: byteCount,
      owner: owner)
  }

  /// Writes the rows of `range` to their places in `buffer` on the pool's threads.
  fileprivate func make(_ range: Range<Int>, in buffer: Buffer, rowBytes: Int, threads: Int) {
    let isFloat = format.name == StorageFormat.f32.name
    let job = FillJob(rows: range) { part in
      let place = unsafe buffer.address + part.lowerBound * rowBytes
      guard isFloat else { return unsafe fill(part, into: place, rowBytes: rowBytes) }
      for row in part {
        let values = unsafe place + (row - part.lowerBound) * rowBytes
        unsafe decode(row: row, into: values.assumingMemoryBound(to: Float.self))
      }
    }
    if threads <= 1 { return job.run(part: 0, of: 1) }
    WorkerPool.shared.exclusive { WorkerPool.shared.run(job, parts: threads) }
  }
}

/// Rows of a foreign matrix that are made when they are asked for and handed back behind whoever read them, with the
/// pages of the file that they were made from. For one thread at a time.
@safe
private final class DeferredRows: PageOwner {
  private let source: any ForeignMatrix
  private let rowBytes: Int
  private let buffer: Buffer

  init(_ source: any ForeignMatrix, rowBytes: Int, _ buffer: Buffer) {
    self.source = source
    self.rowBytes = rowBytes
    self.buffer = buffer
  }

  @unsafe var address: UnsafeRawPointer { unsafe UnsafeRawPointer(buffer.address) }
  let isMapped = false
  let isDeferred = true

  /// The rows that `byteCount` bytes at `address` touch.
  private func rows(_ address: UnsafeRawPointer, _ byteCount: Int) -> Range<Int> {
    let start = unsafe address - self.address
    let first = max(0, start) / rowBytes
    return first..<max(first, min(source.rows, (start + byteCount + rowBytes - 1) / rowBytes))
  }

  func fetchPages(_ address: UnsafeRawPointer, byteCount: Int, threads: Int) {
    let rows = unsafe rows(address, byteCount)
    if !rows.isEmpty { source.make(rows, in: buffer, rowBytes: rowBytes, threads: threads) }
    source.codes.releasePages()
  }

  func releasePages(_ address: UnsafeRawPointer, byteCount: Int) {
    let rows = unsafe rows(address, byteCount)
    buffer.discard(rows.lowerBound * rowBytes..<rows.upperBound * rowBytes)
  }
}

/// A share of rows for each part, in tiles of 16.
private struct FillJob: ParallelJob {
  let rows: Range<Int>
  let body: @Sendable (Range<Int>) -> Void

  func run(part: Int, of count: Int) {
    let range = share(rows.count, part: part, of: count, unit: 16)
    var first = range.lowerBound
    while first < range.upperBound {
      let last = min(first + 16, range.upperBound)
      body(rows.lowerBound + first..<rows.lowerBound + last)
      first = last
    }
  }
}

/// Bytes in a file with whatever keeps them alive.
@safe
package struct ForeignBytes: @unchecked Sendable {
  @unsafe let address: UnsafeRawPointer
  package let count: Int
  private let owner: any AnyObject & Sendable

  package init(address: UnsafeRawPointer, count: Int, owner: any AnyObject & Sendable) {
    unsafe self.address = address
    self.count = count
    self.owner = owner
  }

  /// Hands its pages back to the system, where they are those of a file.
  func releasePages() {
    guard let owner = owner as? any PageOwner else { return }
    unsafe owner.releasePages(address, byteCount: count)
  }

  /// The 32-bit integer at place `index`, of which there are count / 4.
  package func integer(_ index: Int) -> Int32 { load(index, as: Int32.self) }

  /// The number at place `index`; one that lies outside is 0.
  func load<T: BitwiseCopyable & ExpressibleByIntegerLiteral>(_ index: Int, as type: T.Type) -> T {
    let size = MemoryLayout<T>.size
    guard index >= 0, index < count / size else { return 0 }
    return unsafe address.loadUnaligned(fromByteOffset: index * size, as: type)
  }
}

/// Numbers of a tensor that scales are read from.
package struct ForeignNumbers: Sendable {
  /// How a number is stored.
  package enum Kind: Sendable { case f32, f16, bf16 }

  let bytes: ForeignBytes
  let kind: Kind
  /// How many there are.
  let count: Int

  package init(_ bytes: ForeignBytes, _ kind: Kind) {
    self.bytes = bytes
    self.kind = kind
    count = bytes.count / (kind == .f32 ? 4 : 2)
  }

  /// The number at place `index`, 0 outside.
  package subscript(index: Int) -> Float {
    switch kind {
    case .f32: return Float(bitPattern: bytes.load(index, as: UInt32.self))
    case .f16: return Float(Float16(bitPattern: bytes.load(index, as: UInt16.self)))
    case .bf16: return Float(bitPattern: UInt32(bytes.load(index, as: UInt16.self)) << 16)
    }
  }

  /// Whether every number is one of half precision.
  var areHalves: Bool {
    if kind == .f16 { return true }
    return (0..<count).allSatisfy { index in
      let value = self[index]
      return Float(Float16(value)).bitPattern == value.bitPattern
    }
  }
}

/// Packs 32 codes of four bits as blocks of 32 have them: element j low, element j + 16 high in byte j.
@unsafe @inline(__always)
func packNibbles(_ codes: UnsafePointer<UInt8>, into target: UnsafeMutablePointer<UInt8>) {
  for j in 0..<16 {
    unsafe target[j] = codes[j] & 15 | codes[j + 16] << 4
  }
}
