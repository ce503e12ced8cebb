internal import CQwenKernels

/// Four bits a value in a table of 16, as bitsandbytes stores NF4 and FP4.
///
/// The matrix is read row after row: element 2j is the high half of byte j. `blockSize` consecutive elements share a
/// magnitude; the value is table[q] * magnitude.
package struct FourBitMatrix: ForeignMatrix {
  package let rows: Int
  package let columns: Int
  package let codes: ForeignBytes
  private let table: [Float]
  private let blockSize: Int
  private let magnitudes: Magnitudes
  private let ours: StorageFormat?
  /// Factors of nested magnitudes, where ours can hold them as they are.
  private let factors: [Float]?

  /// Largest magnitude of each block: numbers, or 8-bit places in a table of their own ("nested").
  package enum Magnitudes: Sendable {
    case numbers(ForeignNumbers)
    /// table[q] * factor of each `blockSize` magnitudes, + offset.
    case nested(
      ForeignBytes, table: [Float], factors: ForeignNumbers, blockSize: Int, offset: Float)

    fileprivate func callAsFunction(_ block: Int) -> Float {
      switch self {
      case .numbers(let numbers): return numbers[block]
      case .nested(let codes, let table, let factors, let size, let offset):
        return table[Int(codes.load(block, as: UInt8.self))] * factors[block / size] + offset
      }
    }
  }

  /// `table` has 16 values; a nested one 256. `codes` holds rows x columns / 2 bytes.
  package init(
    rows: Int, columns: Int, codes: ForeignBytes, table: [Float], blockSize: Int,
    magnitudes: Magnitudes
  ) throws(TensorError) {
    guard rows > 0, columns > 0, table.count == 16, blockSize > 0,
      rows.multipliedReportingOverflow(by: columns).overflow == false,
      codes.count >= (rows * columns + 1) / 2
    else { throw .shape("\(codes.count) bytes are no [\(rows), \(columns)] of four bits") }
    let blocks = (rows * columns + blockSize - 1) / blockSize
    switch magnitudes {
    case .numbers(let numbers):
      guard numbers.count >= blocks else {
        throw .shape("\(numbers.count) magnitudes for \(blocks) blocks")
      }
    case .nested(let places, let nested, let factors, let size, _):
      guard places.count >= blocks, nested.count == 256, size > 0,
        factors.count >= (blocks + size - 1) / size
      else { throw .shape("\(places.count) nested magnitudes for \(blocks) blocks") }
    }
    self.rows = rows
    self.columns = columns
    self.codes = codes
    self.table = table
    self.blockSize = blockSize
    self.magnitudes = magnitudes
    ours = FourBitMatrix.format(of: table)
    factors = FourBitMatrix.nestedFactors(ours, blockSize, magnitudes, columns)
  }

  /// The factors of magnitudes that are nested as `StorageFormat.nf4Double` has them, nil for others.
  private static func nestedFactors(
    _ format: StorageFormat?, _ blockSize: Int, _ magnitudes: Magnitudes, _ columns: Int
  ) -> [Float]? {
    guard case .nested(_, let table, let factors, 256, _) = magnitudes, blockSize == 64,
      columns % 64 == 0, format?.name == StorageFormat.nf4.name
    else { return nil }
    // A row of 256 blocks with each place of the table, factor 1: its last code is the value 1.
    let double = StorageFormat.nf4Double
    guard let rowBytes = double.rowBytes(columns: 64 * 256) else { return nil }
    var row = [UInt8](repeating: 0xFF, count: rowBytes)
    let ones: [Float] = [1]
    unsafe row.withUnsafeMutableBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe qk_nf4_double_begin(0, 0, ones, 1, start, 64 * 256)
      for place in 0..<256 { unsafe bytes[rowBytes - 33 * (256 - place)] = UInt8(place) }
    }
    var values = [Float](repeating: 0, count: 64 * 256)
    unsafe double.decode(row, &values, values.count)
    guard (0..<256).allSatisfy({ values[64 * $0] == table[$0] }) else { return nil }
    return (0..<factors.count).map { factors[$0] }
  }

  /// Ours with the same table.
  private static func format(of table: [Float]) -> StorageFormat? {
    for format in [StorageFormat.nf4, .fp4] {
      var block = [UInt8](repeating: 0, count: format.blockBytes)
      unsafe block.withUnsafeMutableBytes { bytes in
        unsafe bytes.storeBytes(of: Float(1).bitPattern, as: UInt32.self)
        for q in 0..<16 { unsafe bytes[4 + q] = UInt8(q) }
      }
      var values = [Float](repeating: 0, count: format.blockElements)
      unsafe format.decode(block, &values, values.count)
      if (0..<16).allSatisfy({ values[$0].bitPattern == table[$0].bitPattern }) { return format }
    }
    return nil
  }

  package var format: StorageFormat {
    guard let ours, columns % 64 == 0, blockSize % 64 == 0 else { return .f32 }
    return factors == nil ? ours : .nf4Double
  }

  package func decode(row: Int, into target: UnsafeMutablePointer<Float>) {
    for column in 0..<columns {
      let element = row * columns + column
      let byte = codes.load(element / 2, as: UInt8.self)
      let code = element % 2 == 0 ? byte >> 4 : byte & 15
      unsafe target[column] = table[Int(code)] * magnitudes(element / blockSize)
    }
  }

  package func fill(_ range: Range<Int>, into target: UnsafeMutableRawPointer, rowBytes: Int) {
    unsafe withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64) { scratch in
      guard let q = scratch.baseAddress else { return }
      for row in range {
        var block = unsafe target + (row - range.lowerBound) * rowBytes
        if let factors {
          unsafe beginNested(row, factors, block)
          unsafe block += qk_nf4_double_head_bytes(columns)
        }
        for first in stride(from: row * columns, to: (row + 1) * columns, by: 64) {
          let source = unsafe codes.address + first / 2
          for j in 0..<32 {
            let byte = unsafe source.load(fromByteOffset: j, as: UInt8.self)
            unsafe q[2 * j] = byte >> 4
            unsafe q[2 * j + 1] = byte & 15
          }
          if case .nested(let places, _, _, _, _) = magnitudes, factors != nil {
            unsafe block.storeBytes(of: places.load(first / 64, as: UInt8.self), as: UInt8.self)
            unsafe block += 1
          } else {
            unsafe block.storeBytes(
              of: magnitudes(first / blockSize).bitPattern, as: UInt32.self)
            unsafe block += 4
          }
          let bytes = unsafe block.assumingMemoryBound(to: UInt8.self)
          unsafe packNibbles(q, into: bytes)
          unsafe packNibbles(q + 32, into: bytes + 16)
          unsafe block += 32
        }
      }
    }
  }
}

extension FourBitMatrix {
  /// The head of a row whose magnitudes are nested.
  private func beginNested(_ row: Int, _ factors: [Float], _ target: UnsafeMutableRawPointer) {
    guard case .nested(_, _, _, _, let offset) = magnitudes else { return }
    unsafe qk_nf4_double_begin(
      offset, row * (columns / 64), factors, factors.count, target, columns)
  }
}

/// Signed bytes with a magnitude for each row, as LLM.int8() stores them: q * magnitude / 127.
package struct EightBitMatrix: ForeignMatrix {
  package let rows: Int
  package let columns: Int
  package let codes: ForeignBytes
  private let magnitudes: ForeignNumbers

  package init(
    rows: Int, columns: Int, codes: ForeignBytes, magnitudes: ForeignNumbers
  ) throws(TensorError) {
    let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
    guard rows > 0, columns > 0, !overflow, codes.count >= count, magnitudes.count >= rows else {
      throw .shape("\(codes.count) bytes are no [\(rows), \(columns)] of eight bits")
    }
    self.rows = rows
    self.columns = columns
    self.codes = codes
    self.magnitudes = magnitudes
  }

  package var format: StorageFormat { columns % 32 == 0 ? .int8 : .f32 }

  package func decode(row: Int, into target: UnsafeMutablePointer<Float>) {
    let magnitude = magnitudes[row]
    for column in 0..<columns {
      let code = Int8(bitPattern: codes.load(row * columns + column, as: UInt8.self))
      // bitsandbytes multiplies by 1/127, rounded to float.
      unsafe target[column] = Float(code) * magnitude * 7.874015718698502e-3
    }
  }

  package func fill(_ range: Range<Int>, into target: UnsafeMutableRawPointer, rowBytes: Int) {
    for row in range {
      let place = unsafe target + (row - range.lowerBound) * rowBytes
      unsafe place.storeBytes(of: magnitudes[row].bitPattern, as: UInt32.self)
      unsafe (place + 4).copyMemory(from: codes.address + row * columns, byteCount: columns)
    }
  }
}
