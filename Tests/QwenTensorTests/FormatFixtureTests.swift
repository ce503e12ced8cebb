import CQwenKernels
import Glibc
import QwenTensor
import Testing

@testable import QwenFormats

/// Arrays that a program of Tests/Tools wrote.
struct Fixture {
  let entries: [TensorEntry]

  init(_ name: String) throws {
    let folder = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    entries = try SafetensorsFile.read(
      FileBytes(path: "/\(folder)/Fixtures/\(name).safetensors", mode: .copy))
  }

  func shape(_ name: String) -> [Int]? { entries.first { $0.name == name }?.shape }

  func bytes(_ name: String) throws -> [UInt8] {
    try #require(entries.first { $0.name == name }).region.array()
  }

  func floats(_ name: String) throws -> [Float] {
    try bytes(name).withUnsafeBytes { bytes in
      stride(from: 0, to: bytes.count, by: 4).map {
        bytes.loadUnaligned(fromByteOffset: $0, as: Float.self)
      }
    }
  }
}

extension `Kernels` {
  @Suite struct `Formats of gguf` {
    static let fixture = Result { try Fixture("blocks") }
    static let names = StorageFormat.all.filter { $0.ggmlType != nil && $0.name != "F32" }
      .map(\.name)

    @Test(arguments: names, [0] + fastSets)
    func `decode to the values that gguf reads`(_ name: String, _ set: Int32) throws {
      let format = try #require(StorageFormat.all.first { $0.name == name })
      let fixture = try Self.fixture.get()
      let bytes = try fixture.bytes("\(name.lowercased()).bytes")
      let wanted = try fixture.floats("\(name.lowercased()).values")
      var values = [Float](repeating: 7, count: wanted.count)
      on(set) { format.decode(bytes, &values, wanted.count) }
      #expect(bits(values) == bits(wanted))
    }

    @Test(arguments: names, [0] + fastSets)
    func `encode to the bytes that gguf writes`(_ name: String, _ set: Int32) throws {
      let format = try #require(StorageFormat.all.first { $0.name == name })
      let fixture = try Self.fixture.get()
      let key = name.lowercased()
      guard let encode = format.encode, fixture.shape("\(key).encoded") != nil else { return }
      let isHalf = format.blockElements == 1
      let source = try fixture.floats(isHalf ? "half.source" : "source")
      let wanted = try fixture.bytes("\(key).encoded")
      var bytes = [UInt8](repeating: 7, count: wanted.count)
      on(set) { encode(source, &bytes, source.count) }
      guard bytes != wanted else { return }
      // Payloads of NaN are nobody's promise.
      for block in 0..<source.count / format.blockElements {
        let part = block * format.blockBytes..<(block + 1) * format.blockBytes
        if Array(bytes[part]) == Array(wanted[part]) { continue }
        let elements = block * format.blockElements..<(block + 1) * format.blockElements
        #expect(
          source[elements].contains { $0.isNaN }, "block \(block): \(source[elements])")
        var (a, b) = (
          [Float](repeating: 0, count: elements.count),
          [Float](repeating: 0, count: elements.count)
        )
        format.decode(Array(bytes[part]), &a, elements.count)
        format.decode(Array(wanted[part]), &b, elements.count)
        #expect(bits(a) == bits(b))
      }
    }
  }
}

@Suite struct `Encoding` {
  /// Random values of a matrix of floats.
  private func source(_ rows: Int, _ columns: Int) throws -> Matrix {
    let buffer = try Buffer(byteCount: rows * columns * 4)
    var random = Random(state: 11)
    let values = random.floats(rows * columns)
    buffer.address.copyMemory(from: values, byteCount: values.count * 4)
    return try Matrix(
      format: .f32, rows: rows, columns: columns, address: buffer.address,
      byteCount: values.count * 4, owner: buffer)
  }

  private func bytes(_ matrix: Matrix) -> [UInt8] {
    Array(UnsafeRawBufferPointer(start: matrix.address, count: matrix.byteCount))
  }

  @Test(arguments: StorageFormat.all.filter { $0.encode != nil }.map(\.name))
  func `depends neither on threads nor on slabs`(_ name: String) throws {
    let format = try #require(StorageFormat.all.first { $0.name == name })
    let matrix = try source(11, 512)
    WorkerPool.shared.retain()
    defer { WorkerPool.shared.release() }
    try WorkerPool.shared.exclusive {
      let whole = try matrix.encoded(as: format, threads: 1)
      let threaded = try bytes(matrix.encoded(as: format, threads: 3))
      #expect(threaded == bytes(whole))
      for first in 0..<11 {
        let part = try matrix.rows(first..<min(11, first + 3)).encoded(as: format, threads: 2)
        let same = try whole.rows(first..<min(11, first + 3))
        #expect(bytes(part) == bytes(same))
      }
    }
  }

  @Test(arguments: StorageFormat.all.filter { $0.encode != nil }.map(\.name))
  func `gives values near those encoded`(_ name: String) throws {
    let format = try #require(StorageFormat.all.first { $0.name == name })
    let matrix = try source(3, 512)
    try WorkerPool.shared.exclusive {
      let again = try matrix.encoded(as: format, threads: 1).decoded().array()
      let values = try matrix.decoded().array()
      let error = zip(values, again).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
      let power = values.reduce(0.0) { $0 + Double($1 * $1) }
      // A uniform error of half a step of 2^(1 - bits) of the largest value, twice over for metadata;
      // 16 bits have 7 or more of fraction.
      let step = exp2(2 - min(format.bitsPerWeight, 8))
      #expect(error <= power * step * step, "\(error / power)")
    }
  }

  @Test func `refuses what does not fit`() throws {
    let matrix = try source(2, 40)
    WorkerPool.shared.exclusive {
      #expect(throws: TensorError.self) { _ = try matrix.encoded(as: .q4_0, threads: 1) }
      var few = [UInt8](repeating: 0, count: 2 * 40 * 2 - 1)
      #expect(throws: TensorError.self) {
        try matrix.encode(as: .f16, into: &few, byteCount: few.count, threads: 1)
      }
    }
  }
}
