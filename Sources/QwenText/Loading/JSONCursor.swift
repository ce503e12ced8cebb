internal import QwenFormats

/// A place in JSON text, for vocabularies: their hundred thousands of strings are read one by one, without
/// a tree in memory.
///
/// What is passed over is checked for its brackets and strings only. Nothing recurses.
struct JSONCursor {
  /// File named in messages.
  let file: String
  private(set) var position: Int

  /// Levels of arrays and objects.
  private static let depthLimit = 64

  init(file: String, at position: Int = 0) {
    self.file = file
    self.position = position
  }

  /// The first byte of the next token; 0 at the end of the text.
  mutating func peek(_ text: Span<UInt8>) -> UInt8 {
    while position < text.count {
      switch text[position] {
      case 0x20, 0x09, 0x0A, 0x0D: position += 1
      case let byte: return byte
      }
    }
    return 0
  }

  /// Passes over a punctuation mark.
  mutating func expect(_ mark: UInt8, _ text: Span<UInt8>) throws(TokenizerError) {
    guard peek(text) == mark else { throw bad() }
    position += 1
  }

  /// Whether another element follows in a list whose bracket or last element was just read.
  ///
  /// Passes over the comma, or over the closing bracket.
  mutating func hasElement(
    first: Bool, close: UInt8, _ text: Span<UInt8>
  ) throws(TokenizerError) -> Bool {
    let next = peek(text)
    if next == close {
      position += 1
      return false
    }
    if !first { try expect(UInt8(ascii: ","), text) }
    return true
  }

  /// Replaces `bytes` by the string that follows.
  mutating func string(_ text: Span<UInt8>, into bytes: inout [UInt8]) throws(TokenizerError) {
    bytes.removeAll(keepingCapacity: true)
    try expect(UInt8(ascii: "\""), text)
    while true {
      let end = endOfPlain(text)
      unsafe text.extracting(position..<end).withUnsafeBufferPointer {
        unsafe bytes.append(contentsOf: $0)
      }
      position = end
      guard position < text.count else { throw bad() }
      let byte = text[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return
      case UInt8(ascii: "\\"): try escape(text, into: &bytes)
      default: throw bad()
      }
    }
  }

  /// Where the next quotation mark, backslash or control character is; the end of the text if there is none.
  @inline(__always)
  private func endOfPlain(_ text: Span<UInt8>) -> Int {
    // UInt8 has no padding, so its bytes may be read raw.
    let bytes = unsafe text.bytes
    let ones: UInt64 = 0x0101_0101_0101_0101
    var index = position
    while index &+ 8 <= text.count {
      // Any 8 bytes are a UInt64, and the span checks that they are inside it.
      let word = unsafe UInt64(
        littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
      // The subtractions set the upper bit of each byte they look for, and may set it in bytes above one of those.
      let quote = word ^ ones &* 0x22
      let backslash = word ^ ones &* 0x5C
      let found =
        (quote &- ones) & ~quote | (backslash &- ones) & ~backslash | (word &- ones &* 0x20) & ~word
      let first = found & 0x8080_8080_8080_8080
      if first != 0 { return index &+ first.trailingZeroBitCount &>> 3 }
      index &+= 8
    }
    while index < text.count, text[index] != 0x22, text[index] != 0x5C, text[index] >= 0x20 {
      index &+= 1
    }
    return index
  }

  /// Replaces `bytes` by a member's name and passes over the colon.
  mutating func name(_ text: Span<UInt8>, into bytes: inout [UInt8]) throws(TokenizerError) {
    try string(text, into: &bytes)
    try expect(UInt8(ascii: ":"), text)
  }

  /// A whole number from 0 up to a billion.
  mutating func number(_ text: Span<UInt8>) throws(TokenizerError) -> Int {
    _ = peek(text)
    let start = position
    var value = 0
    while position < text.count, case let digit = Int(text[position]) - 0x30, (0...9) ~= digit {
      value = value * 10 + digit
      position += 1
      if value > 1_000_000_000 { throw bad() }
    }
    if position == start { throw bad() }
    return value
  }

  /// Passes over one value and tells where it lies.
  mutating func skip(_ text: Span<UInt8>) throws(TokenizerError) -> Range<Int> {
    var depth = 0
    _ = peek(text)
    let start = position
    repeat {
      switch peek(text) {
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        position += 1
        if depth > JSONCursor.depthLimit { throw bad("more than \(JSONCursor.depthLimit) levels") }
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        position += 1
        if depth < 0 { throw bad() }
      case UInt8(ascii: ","), UInt8(ascii: ":"):
        position += 1
        if depth == 0 { throw bad() }
      case UInt8(ascii: "\""): try skipString(text)
      case 0: throw bad()
      default: skipWord(text)
      }
    } while depth > 0
    return start..<position
  }

  /// The value that follows, as a tree; for small ones.
  mutating func value(_ text: Span<UInt8>) throws(TokenizerError) -> JSONValue {
    let range = try skip(text)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(range.count)
    for index in range { bytes.append(text[index]) }
    do {
      return try JSONValue(parsing: bytes, maximumDepth: JSONCursor.depthLimit)
    } catch {
      throw bad(at: range.lowerBound + error.offset, error.message)
    }
  }

  private mutating func skipString(_ text: Span<UInt8>) throws(TokenizerError) {
    position += 1
    while true {
      position = endOfPlain(text)
      guard position < text.count else { throw bad() }
      let byte = text[position]
      position += byte == UInt8(ascii: "\\") ? 2 : 1
      if byte == UInt8(ascii: "\"") { return }
    }
  }

  /// A number, true, false or null: at least one byte, up to the next mark or white space.
  private mutating func skipWord(_ text: Span<UInt8>) {
    repeat {
      position += 1
      if position == text.count { return }
      switch text[position] {
      case 0...0x20, UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "]"), UInt8(ascii: "}"),
        UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: "\""):
        return
      default: break
      }
    } while true
  }

  /// What follows a backslash.
  private mutating func escape(
    _ text: Span<UInt8>, into bytes: inout [UInt8]
  ) throws(TokenizerError) {
    guard position < text.count else { throw bad() }
    let mark = text[position]
    position += 1
    switch mark {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(mark)
    case UInt8(ascii: "b"): bytes.append(0x08)
    case UInt8(ascii: "f"): bytes.append(0x0C)
    case UInt8(ascii: "n"): bytes.append(0x0A)
    case UInt8(ascii: "r"): bytes.append(0x0D)
    case UInt8(ascii: "t"): bytes.append(0x09)
    case UInt8(ascii: "u"):
      var point = try hexadecimal(text)
      if point & 0xFC00 == 0xD800 {
        guard position + 1 < text.count, text[position] == UInt8(ascii: "\\"),
          text[position + 1] == UInt8(ascii: "u")
        else { throw bad("half a surrogate pair") }
        position += 2
        let low = try hexadecimal(text)
        guard low & 0xFC00 == 0xDC00 else { throw bad("half a surrogate pair") }
        point = 0x10000 + (point & 0x3FF) << 10 + (low & 0x3FF)
      } else if point & 0xFC00 == 0xDC00 {
        throw bad("half a surrogate pair")
      }
      UTF8Text.append(point, to: &bytes)
    default: throw bad("an unknown escape")
    }
  }

  private mutating func hexadecimal(_ text: Span<UInt8>) throws(TokenizerError) -> UInt32 {
    guard position + 4 <= text.count else { throw bad() }
    var value: UInt32 = 0
    for _ in 0..<4 {
      let byte = text[position]
      position += 1
      switch byte {
      case 0x30...0x39: value = value << 4 | UInt32(byte - 0x30)
      case 0x41...0x46, 0x61...0x66: value = value << 4 | UInt32(byte & 0x0F) + 9
      default: throw bad("an unknown escape")
      }
    }
    return value
  }

  func bad(_ reason: String = "this is not JSON") -> TokenizerError {
    bad(at: position, reason)
  }

  private func bad(at offset: Int, _ reason: String) -> TokenizerError {
    .badVocabulary(file: file, reason: "byte \(offset): \(reason)")
  }
}
