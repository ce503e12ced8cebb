import CQwenKernels
import QwenTensor
import Testing

extension Fixture {
  /// Half-precision numbers as floats.
  func halves(_ name: String) throws -> [Float] {
    try bytes(name).withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count, by: 2).map {
        Float(bytes.loadUnaligned(fromByteOffset: $0, as: Float16.self))
      }
    }
  }
}

/// A matrix of floats in a buffer of its own.
func floatMatrix(_ values: [Float], rows: Int) throws -> Matrix {
  let buffer = try Buffer(byteCount: values.count * 4)
  buffer.address.copyMemory(from: values, byteCount: values.count * 4)
  return try Matrix(
    format: .f32, rows: rows, columns: values.count / rows, address: buffer.address,
    byteCount: values.count * 4, owner: buffer)
}

/// `values` in `format` on the pool.
func encode(_ values: [Float], rows: Int, as format: StorageFormat) throws -> Matrix {
  try WorkerPool.shared.exclusive {
    try floatMatrix(values, rows: rows).encoded(as: format, threads: 1)
  }
}

private func bytes(_ matrix: Matrix) -> [UInt8] {
  Array(UnsafeRawBufferPointer(start: matrix.address, count: matrix.byteCount))
}

@Suite struct `Formats of bitsandbytes` {
  private let fixture: Fixture

  init() throws { fixture = try Fixture("bitsandbytes") }

  @Test func `NF4 has its magnitudes, codes and values`() throws {
    let source = try fixture.halves("nf4.source")
    let matrix = try encode(source, rows: 20, as: .nf4)
    let written = bytes(matrix)
    let packed = try fixture.bytes("nf4.packed")
    let largest = try fixture.floats("nf4.absmax")
    for block in 0..<source.count / 64 {
      let at = block * 36
      #expect(
        written.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: Float.self) }
          == largest[block])
      for k in 0..<64 {
        let byte = written[at + 4 + k / 32 * 16 + k % 16]
        let wanted = packed[block * 32 + k / 2]
        #expect(
          (k % 32 < 16 ? byte & 15 : byte >> 4) == (k % 2 == 0 ? wanted >> 4 : wanted & 15),
          "element \(k) of block \(block)")
      }
    }
    #expect(try bits(matrix.decoded().array()) == bits(fixture.floats("nf4.values")))
  }

  @Test func `NF4 with double quantisation has its values, given its magnitudes`() throws {
    let source = try fixture.halves("nf4.source")
    let magnitudes = try NF4Magnitudes(
      codes: fixture.bytes("double.codes"), factors: fixture.floats("double.factors"),
      offset: fixture.floats("double.offset")[0])
    let rowBytes = try #require(StorageFormat.nf4Double.rowBytes(columns: 1024))
    let buffer = try Buffer(byteCount: 20 * rowBytes)
    for row in 0..<20 {
      magnitudes.beginRow(row, columns: 1024, at: buffer.address + row * rowBytes)
      let codes = Array(magnitudes.codes[row * 16..<row * 16 + 16])
      let values = Array(source[row * 1024..<row * 1024 + 1024])
      qk_nf4_double_encode(values, codes, buffer.address + row * rowBytes, 1024)
    }
    let matrix = try Matrix(
      format: .nf4Double, rows: 20, columns: 1024, address: buffer.address,
      byteCount: 20 * rowBytes, owner: buffer)
    #expect(try bits(matrix.decoded().array()) == bits(fixture.floats("double.values")))
    // 4 bits, 8 for 64 weights, and 4 floats a row.
    #expect(Double(rowBytes * 8) / 1024 < 4.3)
    let wide = try #require(StorageFormat.nf4Double.rowBytes(columns: 4096))
    #expect(Double(wide * 8) / 4096 < 4.2)
  }

  @Test func `magnitudes are coded as bitsandbytes does`() throws {
    let magnitudes = try NF4Magnitudes(fixture.floats("nf4.absmax"))
    let offset = try fixture.floats("double.offset")[0]
    #expect(magnitudes.offset == offset)
    let codes = try fixture.bytes("double.codes")
    let differences = zip(magnitudes.codes, codes).filter { $0 != $1 }.count
    #expect(differences == 0)
    #expect(try magnitudes.factors == fixture.floats("double.factors"))
  }

  @Test func `double quantisation does not depend on threads, and its codes are those of NF4`()
    throws
  {
    let source = try fixture.halves("nf4.source")
    let plain = try bytes(encode(source, rows: 20, as: .nf4))
    let matrix = try floatMatrix(source, rows: 20)
    WorkerPool.shared.retain()
    defer { WorkerPool.shared.release() }
    let (one, three) = try WorkerPool.shared.exclusive {
      try (
        bytes(matrix.encoded(as: .nf4Double, threads: 1)),
        bytes(matrix.encoded(as: .nf4Double, threads: 3))
      )
    }
    #expect(one == three)
    let rowBytes = one.count / 20
    for block in 0..<320 {
      let start = block / 16 * rowBytes + rowBytes - 16 * 33 + block % 16 * 33 + 1
      #expect(one[start..<start + 32].elementsEqual(plain[block * 36 + 4..<block * 36 + 36]))
    }
  }

  @Test func `FP4 has its values`() throws {
    let packed = try fixture.bytes("fp4.packed")
    let largest = try fixture.floats("fp4.absmax")
    var stored: [UInt8] = []
    for block in 0..<largest.count {
      withUnsafeBytes(of: largest[block]) { stored += $0 }
      for half in 0..<2 {
        func code(_ k: Int) -> UInt8 {
          let byte = packed[block * 32 + half * 16 + k / 2]
          return k % 2 == 0 ? byte >> 4 : byte & 15
        }
        stored += (0..<16).map { code($0) | code($0 + 16) << 4 }
      }
    }
    var values = [Float](repeating: 0, count: 4096)
    StorageFormat.fp4.decode(stored, &values, 4096)
    // Only the sign of zero differs: bitsandbytes has one for the code of -0, too.
    #expect(try values == fixture.floats("fp4.values"))
  }

  @Test func `LLM int8 has its codes, scales and values`() throws {
    let matrix = try encode(fixture.halves("int8.source"), rows: 33, as: .int8)
    let (written, codes) = (bytes(matrix), try fixture.bytes("int8.codes"))
    let scales = try fixture.floats("int8.scales")
    for row in 0..<33 {
      let at = row * 100
      #expect(
        written.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: Float.self) }
          == scales[row])
      #expect(written[at + 4..<at + 100].elementsEqual(codes[row * 96..<row * 96 + 96]))
    }
    #expect(try matrix.decoded().array() == fixture.floats("int8.values"))
  }

  /// The product of the fixture's inputs, `chunk` tokens at a time.
  private func product(
    _ matrix: Matrix, _ inputs: [Float], chunk: Int, threads: Int = 1, sharesOutliers: Bool = false
  ) throws -> [Float] {
    let buffer = try FloatBuffer(count: inputs.count)
    buffer.pointer.update(from: inputs, count: inputs.count)
    let tokens = inputs.count / 96
    let x = try Rows(buffer, tokens: tokens, columns: 96)
    let y = try Rows(FloatBuffer(count: tokens * 33), tokens: tokens, columns: 33)
    let compute = try Compute(
      threads: threads, isExact: false, control: RunControl(), maximumTokens: tokens,
      maximumColumns: 96, sharesOutliers: sharesOutliers)
    WorkerPool.shared.retain()
    defer { WorkerPool.shared.release() }
    try WorkerPool.shared.exclusive {
      for first in stride(from: 0, to: tokens, by: chunk) {
        let count = min(chunk, tokens - first)
        try compute.multiply(
          Linear(matrix), x.slice(first, count: count), into: y.slice(first, count: count))
      }
    }
    return y.array()
  }

  @Test func `LLM int8 multiplies each row as bitsandbytes does, in any batch`() throws {
    let matrix = try encode(fixture.halves("int8.source"), rows: 33, as: .int8)
    let (inputs, wanted) = (try fixture.halves("int8.inputs"), try fixture.floats("int8.outputs"))
    let weights = try fixture.floats("int8.values")
    let outputs = try product(matrix, inputs, chunk: 7)
    for token in 0..<7 {
      for row in 0..<33 {
        // bitsandbytes rounds the result, and weights of outliers, to half precision.
        let wide = (0..<96).filter { inputs[token * 96 + $0].magnitude >= 6 }
        let coarse = wide.reduce(Float(0)) {
          $0 + (weights[row * 96 + $1] * inputs[token * 96 + $1]).magnitude
        }
        let value = wanted[token * 33 + row]
        let limit = 0x1p-10 * (value.magnitude + coarse) + 0x1p-24
        #expect((outputs[token * 33 + row] - value).magnitude <= limit, "\(token), \(row)")
      }
    }
    for (chunk, threads) in [(1, 1), (2, 3), (5, 2)] {
      let same = try product(matrix, inputs, chunk: chunk, threads: threads)
      #expect(bits(same) == bits(outputs))
    }
  }

  @Test func `LLM int8 finds outliers over a batch as bitsandbytes does, if asked to`() throws {
    let matrix = try encode(fixture.halves("int8.source"), rows: 33, as: .int8)
    let (inputs, wanted) = (try fixture.halves("int8.inputs"), try fixture.floats("int8.batch"))
    let weights = try fixture.floats("int8.values")
    let outputs = try product(matrix, inputs, chunk: 7, sharesOutliers: true)
    let apart = try product(matrix, inputs, chunk: 7)
    let columns = (0..<96).filter { column in
      (0..<7).contains { inputs[$0 * 96 + column].magnitude >= 6 }
    }
    for token in 0..<7 {
      for row in 0..<33 {
        let coarse = columns.reduce(Float(0)) {
          $0 + (weights[row * 96 + $1] * inputs[token * 96 + $1]).magnitude
        }
        let value = wanted[token * 33 + row]
        let limit = 0x1p-10 * (value.magnitude + coarse) + 0x1p-24
        #expect((outputs[token * 33 + row] - value).magnitude <= limit, "\(token), \(row)")
      }
    }
    #expect(outputs != apart)
    // A token by itself has no neighbours.
    #expect(
      try bits(product(matrix, inputs, chunk: 1, sharesOutliers: true)) == bits(apart))
    #expect(
      try bits(product(matrix, inputs, chunk: 7, threads: 3, sharesOutliers: true))
        == bits(outputs))
  }

  @Test func `LLM int8 shows what is no number`() throws {
    let matrix = try encode(fixture.halves("int8.source"), rows: 33, as: .int8)
    for bad in [Float.nan, .infinity, 1e30] {
      var inputs = try fixture.halves("int8.inputs")
      inputs[96 + 7] = bad
      let outputs = try product(matrix, inputs, chunk: 7)
      // Row 4 of the matrix has no weights to multiply: 0 times infinity is no number, times 1e30 it is 0.
      #expect(outputs[33..<66].enumerated().allSatisfy { bad == 1e30 || !$0.element.isFinite })
      #expect(outputs[0..<33].allSatisfy(\.isFinite) && outputs[66...].allSatisfy(\.isFinite))
    }
  }
}
