internal import CQwenKernels

extension StorageFormat {
  /// NF4 with the largest magnitudes of blocks in 8 bits, as double quantisation of bitsandbytes has it.
  ///
  /// 256 magnitudes of the matrix, read row after row, share a factor: a row begins with those that it needs.
  /// Written matrix by matrix.
  package static let nf4Double = unsafe StorageFormat(
    name: "NF4-double", blockElements: 64, blockBytes: 33,
    rowHead: { qk_nf4_double_head_bytes($0) },
    decode: qk_nf4_double_decode,
    encodeMatrix: { (source, target, threads) throws(TensorError) in
      try unsafe NF4DoubleEncoder(source).run(into: target, threads: threads)
    }, blockProduct: qk_nf4_double_matmul_a8)
}

/// The magnitudes of a matrix in 8 bits, and rows made from them.
///
/// Magnitudes less their mean are coded, 256 under one factor. The mean is rounded once from a sum in double; that of
/// bitsandbytes can be a unit in the last place away, since the order of its sum depends on the processor.
package struct NF4Magnitudes: Sendable {
  /// One for each block of 64 of the matrix.
  package let codes: [UInt8]
  /// One for each 256 codes.
  package let factors: [Float]
  package let offset: Float

  /// Values that a bitsandbytes file brings, or that `init(_:)` made.
  package init(codes: [UInt8], factors: [Float], offset: Float) {
    self.codes = codes
    self.factors = factors
    self.offset = offset
  }

  /// `largest`: the largest magnitude of each block.
  package init(_ largest: [Float]) {
    let offset = Float(largest.reduce(0.0) { $0 + Double($1) } / Double(max(1, largest.count)))
    var codes = [UInt8](repeating: 0, count: largest.count)
    var factors: [Float] = []
    for first in stride(from: 0, to: largest.count, by: 256) {
      let part = largest[first..<min(first + 256, largest.count)].map { $0 - offset }
      var found = [UInt8](repeating: 0, count: part.count)
      var factor: Float = 0
      unsafe qk_dynamic8_encode(part, part.count, &factor, &found)
      factors.append(factor)
      codes.replaceSubrange(first..<first + part.count, with: found)
    }
    self.init(codes: codes, factors: factors, offset: offset)
  }

  /// Writes the head of row `row` of a matrix of `columns` columns to `target`.
  @unsafe package func beginRow(_ row: Int, columns: Int, at target: UnsafeMutableRawPointer) {
    unsafe qk_nf4_double_begin(
      offset, row * (columns / 64), factors, factors.count, target, columns)
  }
}

/// Two passes over a matrix: magnitudes, then rows.
@safe
private struct NF4DoubleEncoder {
  let source: FloatRows

  init(_ source: FloatRows) { self.source = source }

  func run(into target: UnsafeMutableRawPointer, threads: Int) throws(TensorError) {
    let parts = max(1, min(threads, source.rows, WorkerPool.maximumThreads))
    let blocks = source.columns / 64
    let scratch = try FloatBuffer(count: parts * source.scratchCount)
    let largest = try FloatBuffer(count: source.rows * blocks)
    WorkerPool.shared.run(
      MagnitudeJob(source: source, scratch: scratch, largest: largest), parts: parts)
    let magnitudes = NF4Magnitudes(largest.array())
    guard let rowBytes = StorageFormat.nf4Double.rowBytes(columns: source.columns) else { return }
    let job = unsafe RowJob(
      source: source, scratch: scratch, magnitudes: magnitudes, target: target, rowBytes: rowBytes)
    WorkerPool.shared.run(job, parts: parts)
  }
}

private struct MagnitudeJob: ParallelJob {
  let source: FloatRows
  let scratch: FloatBuffer
  let largest: FloatBuffer

  func run(part: Int, of count: Int) {
    let values = unsafe scratch.pointer + part * source.scratchCount
    for row in share(source.rows, part: part, of: count) {
      unsafe source.decode(row, into: values)
      unsafe qk_nf4_largest(
        values, largest.pointer + row * (source.columns / 64), source.columns)
    }
  }
}

@safe
private struct RowJob: ParallelJob {
  let source: FloatRows
  let scratch: FloatBuffer
  let magnitudes: NF4Magnitudes
  let target: UnsafeMutableRawPointer
  let rowBytes: Int

  func run(part: Int, of count: Int) {
    let values = unsafe scratch.pointer + part * source.scratchCount
    let blocks = source.columns / 64
    unsafe magnitudes.codes.withUnsafeBufferPointer { codes in
      for row in share(source.rows, part: part, of: count) {
        unsafe source.decode(row, into: values)
        let bytes = unsafe target + row * rowBytes
        unsafe magnitudes.beginRow(row, columns: source.columns, at: bytes)
        unsafe qk_nf4_double_encode(
          values, codes.baseAddress.map { unsafe $0 + row * blocks }, bytes, source.columns)
      }
    }
  }
}
