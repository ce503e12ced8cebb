/// Floats of eight bits (e4m3) with a factor for each square of 128 rows and columns, as FP8 releases have them.
package struct SquareBlockMatrix: ForeignMatrix {
  package let rows: Int
  package let columns: Int
  package let codes: ForeignBytes
  private let scales: ForeignNumbers
  private let height: Int
  private let width: Int

  /// `scales` are [rows / height, columns / width], rounded up.
  package init(
    rows: Int, columns: Int, codes: ForeignBytes, scales: ForeignNumbers, height: Int, width: Int
  ) throws(TensorError) {
    let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
    guard rows > 0, columns > 0, height > 0, width > 0, !overflow, codes.count >= count,
      scales.count >= ((rows - 1) / height + 1) * ((columns - 1) / width + 1)
    else { throw .shape("\(scales.count) factors are too few for [\(rows), \(columns)]") }
    self.rows = rows
    self.columns = columns
    self.codes = codes
    self.scales = scales
    self.height = height
    self.width = width
  }

  package var format: StorageFormat { columns % 128 == 0 && width % 128 == 0 ? .fp8 : .f32 }

  private func scale(_ row: Int, _ column: Int) -> Float {
    scales[row / height * ((columns - 1) / width + 1) + column / width]
  }

  package func decode(row: Int, into target: UnsafeMutablePointer<Float>) {
    for column in 0..<columns {
      let code = codes.load(row * columns + column, as: UInt8.self)
      unsafe target[column] = SquareBlockMatrix.value(code) * scale(row, column)
    }
  }

  /// The float that a byte of e4m3 is: a sign, four bits of exponent, three of fraction; no infinity.
  static func value(_ code: UInt8) -> Float {
    let (exponent, fraction) = (Int(code >> 3 & 15), Float(code & 7))
    if code & 0x7F == 0x7F { return .nan }
    let magnitude =
      exponent == 0
      ? fraction / 512
      : (1 + fraction / 8) * Float(sign: .plus, exponent: exponent - 7, significand: 1)
    return code & 0x80 == 0 ? magnitude : -magnitude
  }

  package func fill(_ range: Range<Int>, into target: UnsafeMutableRawPointer, rowBytes: Int) {
    for row in range {
      var block = unsafe target + (row - range.lowerBound) * rowBytes
      for column in stride(from: 0, to: columns, by: 128) {
        unsafe block.storeBytes(of: scale(row, column).bitPattern, as: UInt32.self)
        unsafe (block + 4).copyMemory(
          from: codes.address + row * columns + column, byteCount: 128)
        unsafe block += 132
      }
    }
  }
}
