/// A 128-bit digest of bytes: tells inputs apart and notices damage. It is fast and not cryptographic: whoever
/// wants to can make two inputs with the same digest.
///
/// Two lanes of multiply-rotate over 8-byte words, each block of bytes with its length.
package struct Digest: Sendable, Equatable {
  private var a: UInt64 = 0x9E37_79B9_7F4A_7C15
  private var b: UInt64 = 0xC2B2_AE3D_27D4_EB4F

  package init() {}

  /// Adds a block; where blocks begin and end makes a difference.
  package mutating func add(_ bytes: UnsafeRawBufferPointer) {
    var (a, b) = (self.a, self.b)
    let words = bytes.count / 8
    for index in 0..<words {
      let word = unsafe UInt64(
        littleEndian: bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
      Digest.mix(&a, &b, word)
    }
    var rest: UInt64 = 0
    for index in words * 8..<bytes.count { rest = unsafe rest << 8 | UInt64(bytes[index]) }
    Digest.mix(&a, &b, rest)
    Digest.mix(&a, &b, UInt64(bytes.count))
    (self.a, self.b) = (a, b)
  }

  /// Adds the bytes of a text.
  package mutating func add(_ text: String) {
    var text = text
    text.withUTF8 { bytes in unsafe add(UnsafeRawBufferPointer(bytes)) }
  }

  /// Adds numbers.
  package mutating func add(_ numbers: some Swift.Sequence<Int>) {
    for number in numbers { Digest.mix(&a, &b, UInt64(bitPattern: Int64(number))) }
  }

  @inline(__always)
  private static func mix(_ a: inout UInt64, _ b: inout UInt64, _ word: UInt64) {
    a = (a ^ word) &* 0x9FB2_1C65_1E98_DF25
    a ^= a >> 29
    b = (b &+ word) &* 0xD6E8_FEB8_6659_FD93
    b ^= b >> 32
  }

  /// Both lanes, mixed once more.
  package var value: (UInt64, UInt64) {
    var (x, y) = (a, b)
    for _ in 0..<2 { Digest.mix(&x, &y, x ^ (y << 1 | y >> 63)) }
    return (x, y)
  }

  /// 32 hexadecimal digits.
  package var text: String {
    let (x, y) = value
    func digits(_ value: UInt64) -> String {
      let text = String(value, radix: 16)
      return String(repeating: "0", count: 16 - text.utf8.count) + text
    }
    return digits(x) + digits(y)
  }
}
