/// The library's own random numbers: xoshiro256++ (Blackman & Vigna 2019), its state filled from the seed by
/// splitmix64. The same seed gives the same stream on every machine and in every version.
package struct RandomGenerator: Sendable {
  private var state: (UInt64, UInt64, UInt64, UInt64)

  package init(seed: UInt64) {
    var mixer = seed
    func next() -> UInt64 {
      mixer &+= 0x9E37_79B9_7F4A_7C15
      var z = mixer
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return z ^ (z >> 31)
    }
    let (a, b, c, d) = (next(), next(), next(), next())
    state = (a, b, c, d)
  }

  /// The next 64 bits.
  package mutating func next() -> UInt64 {
    let sum = state.0 &+ state.3
    let result = (sum << 23 | sum >> 41) &+ state.0
    let shifted = state.1 << 17
    state.2 ^= state.0
    state.3 ^= state.1
    state.1 ^= state.2
    state.0 ^= state.3
    state.2 ^= shifted
    state.3 = state.3 << 45 | state.3 >> 19
    return result
  }

  /// A number in [0, 1): the upper 53 bits of the next 64.
  package mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// A seed nobody chose, below 2^53 so that it survives any JSON reader.
  package static func systemSeed() -> UInt64 { UInt64.random(in: 0..<(1 << 53)) }
}
