package import QwenFormats

/// Reads what models write where JSON was asked for: JSON, JSON5, Python literals, fenced blocks, cut ends.
///
/// Linear in the text; nesting beyond `maximumDepth` is no value. What strict JSON says is read the same here.
package struct LenientJSON {
  /// What was read.
  package struct Reading: Equatable {
    package var value: JSONValue
    /// Whether the text was not JSON as it stands: other quotes, comments, a fence, a missing end.
    package var isRepaired: Bool
    /// Whether its end was missing.
    package var isCut: Bool
  }

  private static let maximumDepth = 64

  let bytes: [UInt8]
  var position = 0
  var isCut = false

  /// Reads a text; nil if no value begins in it.
  package static func read(_ text: String) -> Reading? {
    if let value = try? JSONValue(parsing: text, maximumDepth: maximumDepth) {
      return Reading(value: value, isRepaired: false, isCut: false)
    }
    var reader = LenientJSON(bytes: LenientJSON.unfenced(Array(text.utf8)))
    guard let value = reader.value(depth: 0) else { return nil }
    return Reading(value: value, isRepaired: true, isCut: reader.isCut)
  }

  /// The inside of the first ``` block if the text begins with one, without its language.
  private static func unfenced(_ bytes: [UInt8]) -> [UInt8] {
    let fence = Array("```".utf8)
    let start = bytes.firstIndex { !isSpace($0) } ?? bytes.count
    guard bytes[start...].starts(with: fence) else { return bytes }
    var inside = bytes[(start + fence.count)...]
    while let byte = inside.first, isWord(byte) { inside.removeFirst() }
    let end = Array(inside).firstIndex(of: fence, from: 0)
    return end.map { Array(inside.prefix($0)) } ?? Array(inside)
  }

  private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func peek(_ distance: Int) -> UInt8? {
    position + distance < bytes.count ? bytes[position + distance] : nil
  }

  /// Skips white space and comments.
  private mutating func skipSpace() {
    while let byte = current {
      if LenientJSON.isSpace(byte) {
        position += 1
      } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "/") {
        while let byte = current, byte != 0x0A { position += 1 }
      } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
        position += 2
        while position < bytes.count,
          !(current == UInt8(ascii: "*") && peek(1) == UInt8(ascii: "/"))
        { position += 1 }
        position = min(position + 2, bytes.count)
      } else if byte == 0xC2, peek(1) == 0xA0 {
        position += 2
      } else if byte == 0xEF, peek(1) == 0xBB, peek(2) == 0xBF {
        position += 3
      } else {
        return
      }
    }
  }

  private mutating func value(depth: Int) -> JSONValue? {
    skipSpace()
    guard depth <= LenientJSON.maximumDepth, let byte = current else { return nil }
    switch byte {
    case UInt8(ascii: "{"): return object(depth: depth)
    case UInt8(ascii: "["): return array(depth: depth)
    case UInt8(ascii: "\""), UInt8(ascii: "'"): return .string(string(byte))
    default: return word()
    }
  }

  private mutating func object(depth: Int) -> JSONValue? {
    position += 1
    var object = JSONObject()
    while true {
      skipSpace()
      guard let byte = current else {
        isCut = true
        return .object(object)
      }
      switch byte {
      case UInt8(ascii: "}"):
        position += 1
        return .object(object)
      case UInt8(ascii: ","): position += 1
      default:
        guard let key = key() else { return nil }
        skipSpace()
        guard current == UInt8(ascii: ":") else {
          // A name without value: the text ends here, or is no object.
          guard current == nil else { return nil }
          isCut = true
          return .object(object)
        }
        position += 1
        skipSpace()
        if current == nil {
          isCut = true
          return .object(object)
        }
        guard let value = value(depth: depth + 1) else { return nil }
        object[key] = value
      }
    }
  }

  private mutating func array(depth: Int) -> JSONValue? {
    position += 1
    var values: [JSONValue] = []
    while true {
      skipSpace()
      guard let byte = current else {
        isCut = true
        return .array(values)
      }
      switch byte {
      case UInt8(ascii: "]"):
        position += 1
        return .array(values)
      case UInt8(ascii: ","): position += 1
      default:
        guard let value = value(depth: depth + 1) else { return nil }
        values.append(value)
      }
    }
  }

  private mutating func key() -> String? {
    guard let byte = current else { return nil }
    if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") { return string(byte) }
    let start = position
    while let byte = current, LenientJSON.isWord(byte) { position += 1 }
    return position > start ? String(decoding: bytes[start..<position], as: UTF8.self) : nil
  }

  /// A string from its quote on. A line feed in it stays; a missing quote ends it with the text.
  private mutating func string(_ quote: UInt8) -> String {
    position += 1
    var text: [UInt8] = []
    while let byte = current {
      position += 1
      if byte == quote { return String(decoding: text, as: UTF8.self) }
      if byte == UInt8(ascii: "\\") { escape(into: &text) } else { text.append(byte) }
    }
    isCut = true
    return String(decoding: text, as: UTF8.self)
  }

  /// What follows a backslash, by the rules of JSON5: an unknown letter stands for itself.
  private mutating func escape(into text: inout [UInt8]) {
    guard let byte = current else { return }
    position += 1
    switch byte {
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "v"): text.append(0x0B)
    case UInt8(ascii: "0"): text.append(0x00)
    case 0x0A: break
    case 0x0D: if current == 0x0A { position += 1 }
    case UInt8(ascii: "x"): append(hex(2), to: &text)
    case UInt8(ascii: "u"):
      var value = hex(4)
      if let high = value, (0xD800..<0xDC00).contains(high), current == UInt8(ascii: "\\"),
        peek(1) == UInt8(ascii: "u")
      {
        position += 2
        if let low = hex(4), (0xDC00..<0xE000).contains(low) {
          value = 0x10000 + (high - 0xD800) << 10 + (low - 0xDC00)
        }
      }
      append(value, to: &text)
    default: text.append(byte)
    }
  }

  /// A code point as UTF-8; U+FFFD for what is none.
  private func append(_ value: UInt32?, to text: inout [UInt8]) {
    let scalar = value.flatMap(Unicode.Scalar.init) ?? "\u{FFFD}"
    text.append(contentsOf: String(Character(scalar)).utf8)
  }

  private mutating func hex(_ count: Int) -> UInt32? {
    guard position + count <= bytes.count else {
      position = bytes.count
      return nil
    }
    let digits = String(decoding: bytes[position..<position + count], as: UTF8.self)
    guard digits.utf8.allSatisfy({ LenientJSON.isHexDigit($0) }) else { return nil }
    position += count
    return UInt32(digits, radix: 16)
  }

  /// A number, one of the named values of JSON and Python, or text without quotes up to the next comma.
  private mutating func word() -> JSONValue? {
    let start = position
    while let byte = current, !LenientJSON.isDelimiter(byte) { position += 1 }
    guard position > start else { return nil }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if position == bytes.count { isCut = true }
    switch text {
    case "true", "True": return .bool(true)
    case "false", "False": return .bool(false)
    case "null", "None", "undefined", "NaN", "Infinity", "-Infinity", "+Infinity": return .null
    default: return LenientJSON.number(text) ?? bare(from: start)
    }
  }

  /// Text without quotes up to a comma, a bracket or the end of its line. Inside of a structure only: a
  /// sentence is no value.
  private mutating func bare(from start: Int) -> JSONValue? {
    guard start > 0, LenientJSON.isWord(bytes[start]) || bytes[start] >= 0x80 else { return nil }
    let stops = Array(",}]\n".utf8)
    while let byte = current, !stops.contains(byte) { position += 1 }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    return .string(text.droppingTrailingSpace())
  }

  /// A number of JSON5: hexadecimal, with a plus, without digits on one side of the point.
  private static func number(_ text: String) -> JSONValue? {
    var digits = Substring(text)
    let isNegative = digits.hasPrefix("-")
    if isNegative || digits.hasPrefix("+") { digits.removeFirst() }
    guard let first = digits.utf8.first, isDigit(first) || first == UInt8(ascii: ".") else {
      return nil
    }
    if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
      let value = Int(digits.dropFirst(2), radix: 16)
      return value.map { .integer(isNegative ? 0 &- $0 : $0) }
    }
    if let value = Int(digits) { return .integer(isNegative ? -value : value) }
    guard digits.utf8.contains(where: isDigit),
      digits.utf8.allSatisfy({ isDigit($0) || ".eE+-".utf8.contains($0) })
    else { return nil }
    var text: [UInt8] = [0x30]
    for byte in digits.utf8 {
      // A point without digits behind it gets one.
      if text.last == UInt8(ascii: "."), !isDigit(byte) { text.append(0x30) }
      text.append(byte)
    }
    if text.last == UInt8(ascii: ".") { text.append(0x30) }
    guard let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite else {
      return nil
    }
    return .number(isNegative ? -value : value)
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || (0x09...0x0D).contains(byte)
  }
  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }
  private static func isHexDigit(_ byte: UInt8) -> Bool {
    isDigit(byte) || (0x41...0x46).contains(byte & 0xDF)
  }
  private static func isWord(_ byte: UInt8) -> Bool {
    isDigit(byte) || (0x41...0x5A).contains(byte & 0xDF) || byte == UInt8(ascii: "_")
      || byte == UInt8(ascii: "$") || byte == UInt8(ascii: "-") || byte >= 0x80
  }
  private static func isDelimiter(_ byte: UInt8) -> Bool {
    isSpace(byte) || ",:{}[]\"'/".utf8.contains(byte)
  }
}
