import CQwenKernels
import QwenTensor
import Testing

/// Every kernel on every instruction set of this machine; one test at a time, since the set is
/// global.
@Suite(.serialized) struct `Kernels` {
  @Test func `an instruction set can be forced and given back`() {
    #expect(qk_cpu_force(0) == 0)
    #expect(qk_cpu_isa() == 0)
    let best = qk_cpu_force(-1)
    #expect(best == qk_cpu_force(99))
    #expect(best == qk_cpu_isa())
  }

  @Test func `waiting on a word that has changed, or at most a nanosecond, returns`() {
    var word: UInt32 = 1
    qk_futex_wait(&word, 0, -1)
    qk_futex_wait(&word, 1, 1)
    qk_futex_wake(&word, 1)
    qk_pause()
  }
}

/// The sets of this machine that are faster than the scalar reference.
let fastSets: [Int32] = {
  defer { _ = qk_cpu_force(-1) }
  return (1..<Int32(QK_ISA_COUNT)).filter { qk_cpu_force($0) == $0 }
}()

/// Runs `body` on one instruction set, then goes back to the best.
func on<R>(_ set: Int32, _ body: () -> R) -> R {
  _ = qk_cpu_force(set)
  defer { _ = qk_cpu_force(-1) }
  return body()
}

/// Numbers that repeat from run to run.
struct Random {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  /// Uniform in -1 ..< 1, 24 bits.
  mutating func float() -> Float { Float(Int32(next() >> 40) - (1 << 23)) / Float(1 << 23) }

  mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in float() } }
}

/// Bit patterns, all NaN alike.
func bits(_ values: [Float]) -> [UInt32] { values.map { $0.isNaN ? 0x7fc0_0000 : $0.bitPattern } }

/// A number in the blocks of a format that random bytes must not be.
private enum Number {
  /// A half or a float at an offset, up to a magnitude.
  case half(Int, upTo: Float)
  case float(Int, upTo: Float)
  /// A whole number of one or two bytes, up to a limit.
  case byte(Int, upTo: UInt64)
  case short(Int, upTo: UInt64)
}

/// Blocks of weights whose magnitudes are those of a model, or so.
private let numbers: [String: [Number]] = [
  "Q4_0": [.half(0, upTo: 1)], "Q4_1": [.half(0, upTo: 1), .half(2, upTo: 1)],
  "Q5_0": [.half(0, upTo: 0.5)], "Q5_1": [.half(0, upTo: 0.5), .half(2, upTo: 1)],
  "Q8_0": [.half(0, upTo: 1)], "Q2_K": [.half(80, upTo: 0.1), .half(82, upTo: 0.1)],
  "Q3_K": [.half(108, upTo: 0.05)], "Q4_K": [.half(0, upTo: 0.01), .half(2, upTo: 0.01)],
  "Q5_K": [.half(0, upTo: 0.01), .half(2, upTo: 0.01)], "Q6_K": [.half(208, upTo: 0.005)],
  "IQ4_NL": [.half(0, upTo: 0.1)], "IQ4_XS": [.half(0, upTo: 0.005)],
  "Z4_32": [.half(0, upTo: 1), .byte(2, upTo: 16)],
  "Z4_64": [.half(0, upTo: 1), .byte(2, upTo: 16)],
  "Z8": [.half(0, upTo: 0.1), .short(2, upTo: 256)],
  "NF4": [.float(0, upTo: 1)], "FP4": [.float(0, upTo: 1)], "FP8": [.float(0, upTo: 0.1)],
]

/// Rows of random elements of a format, `rowBytes` apart, filled with 0xff between them.
func randomWeights(
  _ format: StorageFormat, rows: Int, columns: Int, rowBytes: Int, _ random: inout Random
) -> [UInt8] {
  var bytes = [UInt8](repeating: 0xff, count: rows * rowBytes)
  let blocks = columns / format.blockElements
  let head = (format.rowBytes(columns: columns) ?? 0) - blocks * format.blockBytes
  func put<T>(_ value: T, _ at: Int) {
    withUnsafeBytes(of: value) { bytes.replaceSubrange(at..<at + $0.count, with: $0) }
  }
  for row in 0..<rows {
    for at in stride(from: row * rowBytes, to: row * rowBytes + head, by: 4) {
      put(random.float(), at)
    }
    if format.name == "NF4-double" { put(UInt32(random.next() % 256), row * rowBytes + 4) }
    for block in 0..<blocks {
      let start = row * rowBytes + head + block * format.blockBytes
      if format.blockElements == 1 {
        let value = random.float()
        let all = withUnsafeBytes(of: value.bitPattern) { Array($0) }
        let half = withUnsafeBytes(of: Float16(value).bitPattern) { Array($0) }
        let element = format.name == "F16" ? half : Array(all.suffix(format.blockBytes))
        bytes.replaceSubrange(start..<start + format.blockBytes, with: element)
        continue
      }
      for index in start..<start + format.blockBytes {
        bytes[index] = UInt8(random.next() & 255)
        if format.name == "FP8", bytes[index] & 0x7f == 0x7f { bytes[index] &= 0xfe }
      }
      for number in numbers[format.name] ?? [] {
        switch number {
        case .half(let at, let limit): put(Float16(random.float() * limit), start + at)
        case .float(let at, let limit): put(random.float() * limit, start + at)
        case .byte(let at, let limit): put(UInt8(random.next() % (limit + 1)), start + at)
        case .short(let at, let limit): put(UInt16(random.next() % (limit + 1)), start + at)
        }
      }
    }
  }
  return bytes
}

/// The least number of columns from `least` on that a format can have.
func fittingColumns(_ format: StorageFormat, _ least: Int) -> Int {
  (least + format.blockElements - 1) / format.blockElements * format.blockElements
}
