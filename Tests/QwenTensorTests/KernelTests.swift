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
  let best = qk_cpu_force(-1)
  return best > 0 ? Array(1...best) : []
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

/// Rows of random elements of a format, `rowBytes` apart, filled with 0xff between them.
func randomWeights(
  _ format: StorageFormat, rows: Int, columns: Int, rowBytes: Int, _ random: inout Random
) -> [UInt8] {
  var bytes = [UInt8](repeating: 0xff, count: rows * rowBytes)
  for row in 0..<rows {
    for block in 0..<columns / format.blockElements {
      let start = row * rowBytes + block * format.blockBytes
      if format.blockElements == 1 {
        let value = random.float()
        let all = withUnsafeBytes(of: value.bitPattern) { Array($0) }
        let half = withUnsafeBytes(of: Float16(value).bitPattern) { Array($0) }
        let element = format.name == "F16" ? half : Array(all.suffix(format.blockBytes))
        bytes.replaceSubrange(start..<start + format.blockBytes, with: element)
        continue
      }
      for index in start..<start + format.blockBytes { bytes[index] = UInt8(random.next() & 255) }
      for number in 0..<(format.name == "Q4_1" ? 2 : 1) {
        let half = withUnsafeBytes(of: Float16(random.float()).bitPattern) { Array($0) }
        bytes.replaceSubrange(start + 2 * number..<start + 2 * number + 2, with: half)
      }
    }
  }
  return bytes
}
