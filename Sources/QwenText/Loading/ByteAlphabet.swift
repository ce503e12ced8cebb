/// GPT-2's way of writing bytes as printable characters, used by vocab.json, merges.txt and GGUF.
///
/// 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF stand for themselves, the other 68 bytes in rising order for U+0100 on.
enum ByteAlphabet {
  /// Byte of each scalar below 324, -1 for none.
  private static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 324)
    var next = 256
    for byte in 0..<256 {
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: table[byte] = Int16(byte)
      default:
        table[next] = Int16(byte)
        next += 1
      }
    }
    return table
  }()

  /// The character that stands for a byte, in UTF-8.
  static func letter(_ byte: UInt8) -> [UInt8] {
    let scalar = bytes.firstIndex(of: Int16(byte)) ?? Int(byte)
    return scalar < 0x80
      ? [UInt8(scalar)] : [UInt8(0xC0 | scalar >> 6), UInt8(0x80 | scalar & 0x3F)]
  }

  /// Appends the bytes that `text` writes to the blob; false, and nothing kept, if it is not of the alphabet.
  static func append(_ text: Span<UInt8>, to tokens: inout TokenBytes) -> Bool {
    let table = bytes
    var index = 0
    // Every scalar of the alphabet has one or two bytes in UTF-8: check first, then append.
    while index < text.count {
      guard let (byte, width) = byte(text, index, table), byte >= 0 else { return false }
      index += width
    }
    index = 0
    while index < text.count {
      guard let (byte, width) = byte(text, index, table) else { return false }
      tokens.append(UInt8(truncatingIfNeeded: byte))
      index += width
    }
    return true
  }

  /// The bytes that `text` writes; nil if it is not of the alphabet.
  static func decode(_ text: Span<UInt8>) -> [UInt8]? {
    let table = bytes
    var decoded: [UInt8] = []
    decoded.reserveCapacity(text.count)
    var index = 0
    while index < text.count {
      guard let (byte, width) = byte(text, index, table), byte >= 0 else { return nil }
      decoded.append(UInt8(truncatingIfNeeded: byte))
      index += width
    }
    return decoded
  }

  @inline(__always)
  private static func byte(
    _ text: Span<UInt8>, _ index: Int, _ table: [Int16]
  ) -> (byte: Int16, width: Int)? {
    let first = Int(text[index])
    if first < 0x80 { return (table[first], 1) }
    guard first & 0xE0 == 0xC0, index + 1 < text.count else { return nil }
    let scalar = (first & 0x1F) << 6 | Int(text[index + 1]) & 0x3F
    return scalar < table.count ? (table[scalar], 2) : nil
  }
}
