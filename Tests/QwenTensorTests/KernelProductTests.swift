import CQwenKernels
import QwenTensor
import Testing

/// One product: `y` has rows of `rows + 3` floats, the last three untouched.
private struct Problem {
  let format: StorageFormat
  let rows: Int
  let columns: Int
  let tokens: Int
  let rowBytes: Int
  let weights: [UInt8]
  let x: [Float]
  let xStride: Int
  let blocks: [qk_a8_block]
  let yStride: Int
  static let untouched: Float = 7

  init(_ format: StorageFormat, rows: Int, columns: Int, tokens: Int, seed: UInt64 = 1) {
    var random = Random(state: seed)
    self.format = format
    self.rows = rows
    self.columns = columns
    self.tokens = tokens
    rowBytes = (format.rowBytes(columns: columns) ?? 0) + format.blockBytes
    weights = randomWeights(
      format, rows: rows, columns: columns, rowBytes: rowBytes, &random)
    let isBlocked = format.floatProduct == nil
    xStride = columns + (isBlocked ? 32 : 5)
    x = random.floats(tokens * xStride)
    var blocks = [qk_a8_block](repeating: qk_a8_block(), count: isBlocked ? x.count / 32 : 0)
    if isBlocked { qk_a8_quantize(x, &blocks, x.count) }
    self.blocks = blocks
    yStride = rows + 3
  }

  /// The product of some rows and tokens, written where the whole product would write it.
  func run(rows part: Range<Int>? = nil, tokens slice: Range<Int>? = nil) -> [Float] {
    let part = part ?? 0..<rows
    let slice = slice ?? 0..<tokens
    var y = [Float](repeating: Self.untouched, count: tokens * yStride)
    y.withUnsafeMutableBufferPointer { y in
      let y = y.baseAddress! + slice.lowerBound * yStride + part.lowerBound
      weights.withUnsafeBytes { bytes in
        let source = bytes.baseAddress! + part.lowerBound * rowBytes
        if let product = format.floatProduct {
          x.withUnsafeBufferPointer {
            product(
              source, rowBytes, part.count, columns, $0.baseAddress! + slice.lowerBound * xStride,
              xStride, slice.count, y, yStride)
          }
        } else if let product = format.blockProduct {
          blocks.withUnsafeBufferPointer {
            product(
              source, rowBytes, part.count, columns,
              $0.baseAddress! + slice.lowerBound * (xStride / 32), xStride / 32, slice.count, y,
              yStride)
          }
        }
      }
    }
    return y
  }

  /// The activations that the product sees.
  func activation(_ token: Int, _ k: Int) -> Double {
    guard format.floatProduct == nil else { return Double(x[token * xStride + k]) }
    let block = blocks[(token * xStride + k) / 32]
    let q = withUnsafeBytes(of: block.values) { Int8(bitPattern: $0[k % 32]) }
    return Double(block.scale) * Double(q)
  }

  /// The largest difference from the product in double, relative to the sum of magnitudes.
  func error(_ y: [Float]) -> Double {
    var largest = 0.0
    var row = [Float](repeating: 0, count: columns)
    for r in 0..<rows {
      weights.withUnsafeBytes { format.decode($0.baseAddress! + r * rowBytes, &row, columns) }
      for t in 0..<tokens {
        var sum = 0.0
        var magnitude = 1e-30
        for k in 0..<columns {
          let product = Double(row[k]) * activation(t, k)
          sum += product
          magnitude += product.magnitude
        }
        largest = max(largest, (Double(y[t * yStride + r]) - sum).magnitude / magnitude)
      }
    }
    return largest
  }
}

private let formats = StorageFormat.all
private func columnCounts(_ format: StorageFormat) -> [Int] {
  switch format.blockElements {
  case 1: [1, 7, 8, 9, 31, 32, 40, 131]
  case 32: [32, 64, 96, 512, 544]
  default: [1, 2, 3, 544 / format.blockElements + 1].map { $0 * format.blockElements }
  }
}

/// Formats whose table of floats becomes one of integers of 16 bits in products.
private let wideFormats: Set = ["NF4", "NF4-double", "FP4"]

extension `Kernels` {
  @Suite struct `Products` {
    @Test(arguments: formats.map(\.name))
    func `agree with double precision`(_ name: String) throws {
      let format = try #require(formats.first { $0.name == name })
      for columns in columnCounts(format) {
        let problem = Problem(format, rows: 5, columns: columns, tokens: 3)
        // A chain of at most columns / 8 sums in a lane, three levels of lanes, rounding of
        // products and scales: well under columns / 8 + 8 half units.
        let limit =
          Double(columns / 8 + 8) * 0x1p-24 + (wideFormats.contains(name) ? 0x1p-15 : 0)
        #expect(problem.error(on(0) { problem.run() }) < limit)
      }
    }

    @Test(arguments: formats.map(\.name), fastSets)
    func `have the bits of the scalar reference`(_ name: String, _ set: Int32) throws {
      let format = try #require(formats.first { $0.name == name })
      for columns in columnCounts(format) {
        for rows in 1...19 {
          for tokens in [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 17] where (rows + tokens) % 3 == 0 {
            let problem = Problem(format, rows: rows, columns: columns, tokens: tokens)
            let expected = bits(on(0) { problem.run() })
            #expect(
              bits(on(set) { problem.run() }) == expected,
              "[\(rows), \(columns)] times \(tokens) tokens")
          }
        }
      }
    }

    @Test(arguments: formats.map(\.name), [0] + fastSets)
    func `do not depend on the rows and tokens beside them`(_ name: String, _ set: Int32) throws {
      let format = try #require(formats.first { $0.name == name })
      let columns = format.blockElements == 1 ? 75 : fittingColumns(format, 608)
      let problem = Problem(format, rows: 19, columns: columns, tokens: 17, seed: 3)
      let whole = on(set) { problem.run() }
      for first in 0..<19 {
        for token in 0..<17 where (first + token) % 4 == 0 {
          let rows = first..<min(19, first + 1 + token % 9)
          let tokens = token..<min(17, token + 1 + first % 10)
          let part = on(set) { problem.run(rows: rows, tokens: tokens) }
          for t in 0..<17 {
            for r in 0..<problem.yStride {
              let index = t * problem.yStride + r
              let isInside = tokens.contains(t) && rows.contains(r)
              let expected = isInside ? whole[index] : Problem.untouched
              #expect(part[index].bitPattern == expected.bitPattern)
            }
          }
        }
      }
    }

    @Test(arguments: formats.map(\.name), [0] + fastSets)
    func `of no columns, rows or tokens are zeros or nothing`(_ name: String, _ set: Int32) throws {
      let format = try #require(formats.first { $0.name == name })
      for tokens in [0, 1, 9] {
        for rows in [0, 1, 17] {
          let problem = Problem(format, rows: rows, columns: 0, tokens: tokens)
          let y = on(set) { problem.run() }
          for index in y.indices {
            let expected = index % problem.yStride < rows ? 0 : Problem.untouched
            #expect(y[index] == expected)
          }
        }
      }
    }

    @Test(arguments: formats.map(\.name), [0] + fastSets)
    func `show an activation that is not finite`(_ name: String, _ set: Int32) throws {
      let format = try #require(formats.first { $0.name == name })
      for tokens in [1, 9] {
        for bad in [Float.nan, .infinity] {
          var numbers = Random(state: 1)
          let columns = fittingColumns(format, 64)
          var x = numbers.floats(tokens * columns)
          x[(tokens - 1) * columns + 40] = bad
          var random = Random(state: 5)
          let rowBytes = try #require(format.rowBytes(columns: columns))
          let weights = randomWeights(
            format, rows: 3, columns: columns, rowBytes: rowBytes, &random)
          var y = [Float](repeating: 0, count: tokens * 3)
          on(set) {
            if let product = format.floatProduct {
              product(weights, rowBytes, 3, columns, x, columns, tokens, &y, 3)
            } else if let product = format.blockProduct {
              var blocks = [qk_a8_block](repeating: qk_a8_block(), count: x.count / 32)
              qk_a8_quantize(x, &blocks, x.count)
              product(weights, rowBytes, 3, columns, blocks, columns / 32, tokens, &y, 3)
            }
          }
          #expect(y.suffix(3).allSatisfy { !$0.isFinite })
          #expect(y.dropLast(3).allSatisfy { $0.isFinite })
        }
      }
    }
  }
}
