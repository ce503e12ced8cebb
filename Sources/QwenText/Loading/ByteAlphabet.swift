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

  /// Puts the bytes that `text` writes into `scratch` from `start` on, which grows where it must, and returns where
  /// they end; nil if it is not of the alphabet. At least 8 bytes more are there behind them.
  @inline(__always)
  static func decode(
    _ text: Span<UInt8>, into scratch: inout [UInt8], at start: Int = 0
  ) -> Int? {
    let missing = start + text.count + 8 - scratch.count
    if missing > 0 { scratch.append(contentsOf: repeatElement(0, count: missing)) }
    let table = bytes.span
    var bytes = scratch.mutableSpan
    var index = 0
    var end = start
    while index < text.count {
      // Every scalar of the alphabet has one or two bytes in UTF-8.
      var scalar = Int(text[index])
      index &+= 1
      if scalar >= 0x80 {
        guard scalar & 0xE0 == 0xC0, index < text.count else { return nil }
        scalar = (scalar & 0x1F) &<< 6 | Int(text[index]) & 0x3F
        index &+= 1
        guard scalar < table.count else { return nil }
      }
      let byte = table[scalar]
      guard byte >= 0 else { return nil }
      bytes[end] = UInt8(truncatingIfNeeded: byte)
      end &+= 1
    }
    return end
  }
}
