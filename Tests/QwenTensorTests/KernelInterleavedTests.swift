import CQwenKernels
import QwenTensor
import Testing

private let forms = StorageFormat.interleavedForms.map(\.name)

/// A matrix in rows and the same interleaved, with activations for some tokens.
private struct Pair {
  let rowMajor: StorageFormat
  let form: StorageFormat
  let interleaving: Interleaving
  let (rows, columns, tokens, rowBytes): (Int, Int, Int, Int)
  let weights: [UInt8]
  let groups: [UInt8]
  let blocks: [qk_a8_block]
  static let untouched: Float = 7

  /// `wanted` columns of blocks of 32, or so many whole blocks of a format that has longer ones.
  init(_ name: String, rows: Int, columns wanted: Int, tokens: Int) throws {
    form = try #require(StorageFormat.named(name))
    let columns = wanted / 32 * max(32, form.blockElements)
    let interleaving = try #require(form.interleaving)
    self.interleaving = interleaving
    rowMajor = try #require(StorageFormat.named(interleaving.source))
    (self.rows, self.columns, self.tokens) = (rows, columns, tokens)
    let rowBytes = try #require(form.rowBytes(columns: columns))
    self.rowBytes = rowBytes
    var random = Random(state: UInt64(rows * columns + tokens))
    let stored = rowBytes + form.blockBytes
    let bytes = randomWeights(
      rowMajor, rows: rows, columns: columns, rowBytes: stored, &random)
    weights = bytes
    let size = (rows + interleaving.rows - 1) / interleaving.rows * interleaving.rows * rowBytes
    groups = [UInt8](unsafeUninitializedCapacity: size) { target, count in
      target.initialize(repeating: 0xff)
      interleaving.pack(bytes, stored, rows, columns, target.baseAddress)
      count = size
    }
    let x = random.floats(tokens * columns)
    var blocks = [qk_a8_block](repeating: qk_a8_block(), count: tokens * columns / 32)
    qk_a8_quantize(x, &blocks, x.count)
    self.blocks = blocks
  }

  /// The product of rows by themselves, from the scalar reference.
  var expected: [Float] {
    var y = [Float](repeating: Self.untouched, count: tokens * (rows + 3))
    on(0) {
      rowMajor.blockProduct?(
        weights, rowBytes + form.blockBytes, rows, columns, blocks, columns / 32, tokens, &y,
        rows + 3)
    }
    return y
  }

  func run(_ set: Int32, from first: Int = 0, count: Int? = nil) -> [Float] {
    var y = [Float](repeating: Self.untouched, count: tokens * (rows + 3))
    y.withUnsafeMutableBufferPointer { y in
      groups.withUnsafeBytes { groups in
        on(set) {
          form.blockProduct?(
            groups.baseAddress! + first * rowBytes, rowBytes, count ?? rows - first, columns,
            blocks, columns / 32, tokens, y.baseAddress! + first, rows + 3)
        }
      }
    }
    return y
  }
}

extension `Kernels` {
  @Suite struct `Interleaved forms` {
    @Test(arguments: forms)
    func `decode to the numbers of the rows`(_ name: String) throws {
      for (rows, wanted) in [(1, 32), (16, 64), (19, 96)] {
        let pair = try Pair(name, rows: rows, columns: wanted, tokens: 1)
        let columns = pair.columns
        var (a, b) = ([Float](repeating: 0, count: columns), [Float](repeating: 1, count: columns))
        for row in 0..<rows {
          pair.weights.withUnsafeBytes {
            pair.rowMajor.decode(
              $0.baseAddress! + row * (pair.rowBytes + pair.form.blockBytes), &a, columns)
          }
          pair.groups.withUnsafeBytes {
            pair.interleaving.decode(
              $0.baseAddress! + row / 16 * 16 * pair.rowBytes, row % 16, &b, columns)
          }
          #expect(bits(a) == bits(b))
        }
      }
    }

    @Test(arguments: forms, [0] + fastSets)
    func `have the products of the rows, bit for bit`(_ name: String, _ set: Int32) throws {
      for columns in [0, 32, 64, 512, 544] {
        for rows in [0, 1, 7, 8, 9, 15, 16, 17, 25, 33] {
          for tokens in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 17]
          where tokens < 2 || (rows + tokens + columns / 32) % 4 == 0 {
            let pair = try Pair(name, rows: rows, columns: columns, tokens: tokens)
            #expect(
              bits(pair.run(set)) == bits(pair.expected),
              "[\(rows), \(columns)] times \(tokens) tokens")
          }
        }
      }
    }

    @Test(arguments: forms, [0] + fastSets)
    func `write a range of rows that begins with a group`(_ name: String, _ set: Int32) throws {
      for tokens in [1, 3, 9] {
        let pair = try Pair(name, rows: 40, columns: 96, tokens: tokens)
        let whole = pair.expected
        for (first, count) in [(16, 5), (16, 24), (32, 8), (0, 16)] {
          let part = pair.run(set, from: first, count: count)
          for index in part.indices {
            let row = index % 43
            let isInside = row >= first && row < first + count
            let expected = isInside ? whole[index] : Pair.untouched
            #expect(part[index].bitPattern == expected.bitPattern)
          }
        }
      }
    }

    @Test(arguments: forms)
    func `are made in place where that is whole groups of memory`(_ name: String) throws {
      let pair = try Pair(name, rows: 64, columns: 96, tokens: 1)
      let buffer = try Buffer(byteCount: 64 * pair.rowBytes)
      for row in 0..<64 {
        pair.weights.withUnsafeBytes {
          (buffer.address + row * pair.rowBytes).copyMemory(
            from: $0.baseAddress! + row * (pair.rowBytes + pair.form.blockBytes),
            byteCount: pair.rowBytes)
        }
      }
      let matrix = try Matrix(
        format: pair.rowMajor, rows: 64, columns: pair.columns, address: buffer.address,
        byteCount: buffer.byteCount, owner: buffer
      ).rows(8..<56)
      WorkerPool.shared.retain()
      defer { WorkerPool.shared.release() }
      let made = try #require(
        try WorkerPool.shared.exclusive { try matrix.packedInPlace(threads: 2) })
      #expect(made.address == matrix.address)
      var expected = [UInt8](repeating: 0, count: made.byteCount)
      let stored = pair.rowBytes + pair.form.blockBytes
      pair.weights.withUnsafeBytes {
        pair.interleaving.pack($0.baseAddress! + 8 * stored, stored, 48, pair.columns, &expected)
      }
      #expect(
        Array(UnsafeRawBufferPointer(start: made.address, count: made.byteCount)) == expected)
    }

    @Test func `add outliers as the rows do`() throws {
      let pair = try Pair("INT8x16", rows: 40, columns: 96, tokens: 1)
      var random = Random(state: 7)
      let x = random.floats(96)
      let outliers: [UInt32] = [0x8000_0001, 0, 0x0010_8030]
      var (a, b) = (random.floats(40), [Float]())
      b = a
      qk_int8_add_outliers(
        pair.weights, pair.rowBytes + pair.form.blockBytes, 40, 96, x, outliers, &a)
      qk_int8x16_add_outliers(pair.groups, pair.rowBytes, 40, 96, x, outliers, &b)
      #expect(bits(a) == bits(b))
    }

    @Test(arguments: forms, [1, 2, 3])
    func `are made alike by any number of threads`(_ name: String, _ threads: Int) throws {
      let pair = try Pair(name, rows: 50, columns: 64, tokens: 1)
      let buffer = try Buffer(byteCount: 50 * pair.rowBytes)
      for row in 0..<50 {
        pair.weights.withUnsafeBytes {
          (buffer.address + row * pair.rowBytes).copyMemory(
            from: $0.baseAddress! + row * (pair.rowBytes + pair.form.blockBytes),
            byteCount: pair.rowBytes)
        }
      }
      let matrix = try Matrix(
        format: pair.rowMajor, rows: 50, columns: pair.columns, address: buffer.address,
        byteCount: buffer.byteCount, owner: buffer)
      WorkerPool.shared.retain()
      defer { WorkerPool.shared.release() }
      let made = try #require(
        try WorkerPool.shared.exclusive { try matrix.packed(threads: threads) })
      #expect(made.byteCount == pair.groups.count)
      #expect(
        Array(UnsafeRawBufferPointer(start: made.address, count: made.byteCount)) == pair.groups)
      let rows = try made.rows(16..<50)
      #expect(try rows.decoded().array() == matrix.rows(16..<50).decoded().array())
      #expect(throws: TensorError.self) { try made.rows(3..<50) }
    }
  }
}
