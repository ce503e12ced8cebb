import CQwenKernels
import QwenTensor
import Testing

extension `Kernels` {
  @Suite struct `Encoders of least error` {
    static let names = StorageFormat.all.filter { $0.encodeBest != nil }.map(\.name)

    /// Weights with heavy tails, and weights of columns.
    private func samples() -> ([Float], [Float]) {
      var random = Random(state: 77)
      let x = (0..<8 * 512).map { _ in
        let (a, b, c) = (random.float(), random.float(), random.float())
        return (a + b + c) * (random.next() % 50 == 0 ? 0.3 : 0.05)
      }
      return (
        x,
        (0..<512).map { _ in Float(1) + 9 * random.float() * random.float().magnitude }.map {
          max($0, 0.1)
        }
      )
    }

    private func error(_ x: [Float], _ w: [Float], _ matrix: Matrix) throws -> Double {
      let y = try matrix.decoded().array()
      return x.indices.reduce(0.0) {
        $0 + Double(w[$1 % w.count]) * Double(x[$1] - y[$1]) * Double(x[$1] - y[$1])
      }
    }

    @Test(arguments: names)
    func `are better than rounding, and better still where importance is known`(_ name: String)
      throws
    {
      let format = try #require(StorageFormat.named(name))
      let (x, w) = samples()
      let ones = [Float](repeating: 1, count: w.count)
      let importance = try FloatBuffer(count: w.count)
      importance.pointer.update(from: w, count: w.count)
      let matrix = try floatMatrix(x, rows: 8)
      let (plain, best, weighted) = try WorkerPool.shared.exclusive {
        try (
          matrix.encoded(as: format, threads: 1),
          matrix.encoded(as: format, effort: .best, threads: 1),
          matrix.encoded(as: format, effort: .best, importance: importance, threads: 1)
        )
      }
      let isPlainOther = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "NF4"].contains(name)
      #expect(try error(x, ones, best) <= error(x, ones, plain) * (isPlainOther ? 0.95 : 1))
      #expect(try error(x, w, weighted) < error(x, w, best) * 0.97)
    }

    @Test(arguments: names, fastSets)
    func `have the bits of the scalar reference`(_ name: String, _ set: Int32) throws {
      let format = try #require(StorageFormat.named(name))
      let encode = try #require(format.encodeBest)
      var (x, w) = samples()
      x.replaceSubrange(512..<1024, with: repeatElement(0, count: 512))
      x.replaceSubrange(1024..<1280, with: repeatElement(0.25, count: 256))
      x.replaceSubrange(1280..<1536, with: repeatElement(-3, count: 256))
      x[1600] = .nan
      x[2200] = .infinity
      for k in 2560..<3072 { x[k] *= 1e-7 }
      for k in 3072..<3328 { x[k] *= 1e-38 }
      for k in 3328..<3584 { x[k] *= 1e6 }
      func run() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: x.count * format.blockBytes / format.blockElements)
        for row in 0..<8 {
          let at = row * 512 / format.blockElements * format.blockBytes
          bytes.withUnsafeMutableBytes { bytes in
            x.withUnsafeBufferPointer {
              encode(
                $0.baseAddress! + row * 512, row % 2 == 0 ? nil : w, bytes.baseAddress! + at, 512)
            }
          }
        }
        return bytes
      }
      #expect(on(set, run) == on(0, run))
      var values = [Float](repeating: 0, count: x.count)
      format.decode(run(), &values, x.count)
      // What is no number shows; nothing else does, up to the range of half precision.
      #expect(!values[1600].isFinite && !values[2200].isFinite)
      #expect(values[0..<1536].allSatisfy { $0.isFinite })
      #expect(values[512..<1024].allSatisfy { $0 == 0 })
      #expect(
        values[1024..<1536].elementsEqual(x[1024..<1536]) {
          ($0 - $1).magnitude <= 0.02 * $1.magnitude
        })
    }
  }
}
