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
    encodeMatrix: { (source, effort, importance, target, threads) throws(TensorError) in
      try unsafe NF4DoubleEncoder(source: source, effort: effort, importance: importance).run(
        into: target, threads: threads)
    }, blockProduct: qk_nf4_double_matmul_a8)
}

/// The magnitudes of a matrix in 8 bits, and rows made from them.
///
/// Magnitudes less their mean are coded, 256 under one factor. The mean is that of bitsandbytes, whose sum of many
/// (torch's) has another order with each number of threads: this is the one of a single thread.
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
    let offset = NF4Magnitudes.sum(largest) / Float(max(1, largest.count))
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

  /// The sum in the order of torch: 8 lanes, each of 4 by turns, in cascades of `step` that are added to the next of
  /// four levels when they are full.
  static func sum(_ values: [Float]) -> Float {
    let lanes = values.count < 8 ? 1 : 8
    let rows = values.count / lanes
    let turns = rows / 4
    let bits = turns > 1 ? Int.bitWidth - (turns - 1).leadingZeroBitCount : 0
    let power = max(4, bits / 4)
    var levels = [[Float]](repeating: [Float](repeating: 0, count: 4 * lanes), count: 4)
    func add(_ level: Int, _ other: Int) {
      for i in 0..<4 * lanes { levels[level][i] += levels[other][i] }
    }
    for turn in 0..<turns {
      for i in 0..<4 * lanes { levels[0][i] += values[4 * lanes * turn + i] }
      guard (turn + 1) % (1 << power) == 0 else { continue }
      for level in 1..<4 {
        add(level, level - 1)
        for i in 0..<4 * lanes { levels[level - 1][i] = 0 }
        if (turn + 1) & ((1 << power - 1) << (level * power)) != 0 { break }
      }
    }
    for level in 1..<4 { add(0, level) }
    var sums = Array(levels[0][..<lanes])
    for row in 4 * turns..<rows { for i in 0..<lanes { sums[i] += values[lanes * row + i] } }
    for turn in 1..<4 { for i in 0..<lanes { sums[i] += levels[0][lanes * turn + i] } }
    let rest = values[(lanes * rows)...].reduce(0, +)
    return lanes == 1 ? sums[0] : sums.reduce(rest, +)
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
  let effort: Matrix.Effort
  let importance: FloatBuffer?

  func run(into target: UnsafeMutableRawPointer, threads: Int) throws(TensorError) {
    let parts = max(1, min(threads, source.rows, WorkerPool.maximumThreads))
    let blocks = source.columns / 64
    let scratch = try FloatBuffer(count: parts * source.scratchCount)
    let largest = try FloatBuffer(count: source.rows * blocks)
    WorkerPool.shared.run(
      MagnitudeJob(encoder: self, scratch: scratch, largest: largest), parts: parts)
    let magnitudes = NF4Magnitudes(largest.array())
    guard let rowBytes = StorageFormat.nf4Double.rowBytes(columns: source.columns) else { return }
    let job = unsafe RowJob(
      encoder: self, scratch: scratch, magnitudes: magnitudes, target: target, rowBytes: rowBytes)
    WorkerPool.shared.run(job, parts: parts)
  }
}

private struct MagnitudeJob: ParallelJob {
  let encoder: NF4DoubleEncoder
  let scratch: FloatBuffer
  let largest: FloatBuffer

  func run(part: Int, of count: Int) {
    let source = encoder.source
    let values = unsafe scratch.pointer + part * source.scratchCount
    for row in share(source.rows, part: part, of: count) {
      unsafe source.decode(row, into: values)
      let magnitudes = unsafe largest.pointer + row * (source.columns / 64)
      if encoder.effort == .best {
        unsafe qk_nf4_fit_largest(
          values, encoder.importance?.pointer, magnitudes, source.columns)
      } else {
        unsafe qk_nf4_largest(values, magnitudes, source.columns)
      }
    }
  }
}

@safe
private struct RowJob: ParallelJob {
  let encoder: NF4DoubleEncoder
  let scratch: FloatBuffer
  let magnitudes: NF4Magnitudes
  let target: UnsafeMutableRawPointer
  let rowBytes: Int

  func run(part: Int, of count: Int) {
    let source = encoder.source
    let values = unsafe scratch.pointer + part * source.scratchCount
    let blocks = source.columns / 64
    unsafe magnitudes.codes.withUnsafeBufferPointer { codes in
      for row in share(source.rows, part: part, of: count) {
        unsafe source.decode(row, into: values)
        let bytes = unsafe target + row * rowBytes
        unsafe magnitudes.beginRow(row, columns: source.columns, at: bytes)
        let places = unsafe codes.baseAddress.map { unsafe $0 + row * blocks }
        if encoder.effort == .best {
          unsafe qk_nf4_double_encode_best(values, places, bytes, source.columns)
        } else {
          unsafe qk_nf4_double_encode(values, places, bytes, source.columns)
        }
      }
    }
  }
}
