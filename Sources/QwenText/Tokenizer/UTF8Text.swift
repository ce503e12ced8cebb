/// Reading UTF-8: decoding what is known to be well-formed, and finding what is not.
enum UTF8Text {
  /// The code point at `index` of well-formed UTF-8, and its length in bytes.
  @inline(__always)
  static func scalar(_ text: Span<UInt8>, _ index: Int) -> (point: UInt32, width: Int) {
    let first = UInt32(text[index])
    if first < 0x80 { return (first, 1) }
    let second = UInt32(text[index &+ 1]) & 0x3F
    if first < 0xE0 { return ((first & 0x1F) &<< 6 | second, 2) }
    let third = UInt32(text[index &+ 2]) & 0x3F
    if first < 0xF0 { return ((first & 0x0F) &<< 12 | second &<< 6 | third, 3) }
    let fourth = UInt32(text[index &+ 3]) & 0x3F
    return ((first & 0x07) &<< 18 | second &<< 12 | third &<< 6 | fourth, 4)
  }

  /// Appends a code point as UTF-8.
  static func append(_ point: UInt32, to bytes: inout [UInt8]) {
    if point < 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: point))
      return
    }
    if point < 0x800 {
      bytes.append(UInt8(truncatingIfNeeded: 0xC0 | point &>> 6))
    } else {
      if point < 0x10000 {
        bytes.append(UInt8(truncatingIfNeeded: 0xE0 | point &>> 12))
      } else {
        bytes.append(UInt8(truncatingIfNeeded: 0xF0 | point &>> 18))
        bytes.append(UInt8(truncatingIfNeeded: 0x80 | point &>> 12 & 0x3F))
      }
      bytes.append(UInt8(truncatingIfNeeded: 0x80 | point &>> 6 & 0x3F))
    }
    bytes.append(UInt8(truncatingIfNeeded: 0x80 | point & 0x3F))
  }

  /// What begins at an index of any bytes.
  enum Unit: Equatable {
    /// A well-formed character of so many bytes.
    case whole(Int)
    /// A maximal ill-formed subpart of so many bytes: one U+FFFD.
    case broken(Int)
    /// The bytes end inside a character that is well-formed so far.
    case incomplete(Int)
  }

  /// Reads the unit at `index` (Unicode 16, table 3-7; section 3.9, "maximal subpart").
  @inline(__always)
  static func unit(_ text: Span<UInt8>, _ index: Int) -> Unit {
    let first = text[index]
    if first < 0x80 { return .whole(1) }
    var low: UInt8 = 0x80
    var high: UInt8 = 0xBF
    let width: Int
    switch first {
    case 0xC2...0xDF: width = 2
    case 0xE0...0xEF:
      width = 3
      if first == 0xE0 { low = 0xA0 }
      if first == 0xED { high = 0x9F }
    case 0xF0...0xF4:
      width = 4
      if first == 0xF0 { low = 0x90 }
      if first == 0xF4 { high = 0x8F }
    default: return .broken(1)
    }
    var length = 1
    while length < width {
      if index &+ length >= text.count { return .incomplete(length) }
      let byte = text[index &+ length]
      if byte < low || byte > high { return .broken(length) }
      low = 0x80
      high = 0xBF
      length &+= 1
    }
    return .whole(width)
  }

  /// Checks that `text` is UTF-8 and tells where NFC may have work, in one pass.
  ///
  /// Returns the offset of the first unstable character, or nil if the text is in NFC already.
  static func validate(
    _ text: Span<UInt8>, _ classes: UnicodeClasses
  ) throws(TokenizerError) -> Int? {
    // UInt8 has no padding, so its bytes may be read raw.
    let bytes = unsafe text.bytes
    let count = text.count
    var unstable: Int? = nil
    var index = 0
    while index < count {
      if index &+ 8 <= count {
        // Any 8 bytes are a UInt64, and the span checks that they are inside it.
        let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
        if word & 0x8080_8080_8080_8080 == 0 {
          index &+= 8
          continue
        }
      }
      guard case .whole(let width) = unit(text, index) else {
        throw .invalidUTF8(offset: index)
      }
      // Below U+0300 everything is stable; U+4000 to U+9FFF (lead bytes E4 to E9) as well.
      let first = text[index]
      if first >= 0xCC, first < 0xE4 || first > 0xE9, unstable == nil,
        classes[scalar(text, index).point].contains(.unstable)
      {
        unstable = index
      }
      index &+= width
    }
    return unstable
  }
}
