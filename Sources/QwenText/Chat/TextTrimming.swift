/// Byte-wise trimming and splitting as the templates do it: by line feeds and by exact text, never by
/// Swift's characters, in which "\r\n" and combining marks are one with their neighbours.
extension String {
  /// Without line feeds at its beginning.
  func droppingLeadingLineFeeds() -> String { String(Substring(utf8.drop { $0 == 0x0A })) }

  /// Without line feeds at its end.
  func droppingTrailingLineFeeds() -> String {
    var bytes = utf8[...]
    while bytes.last == 0x0A { bytes.removeLast() }
    return String(Substring(bytes))
  }

  /// Without white space at its end, as Python's rstrip.
  func droppingTrailingSpace() -> String {
    var scalars = unicodeScalars[...]
    while let last = scalars.last, last.isPythonSpace { scalars.removeLast() }
    return String(scalars)
  }

  /// Without white space at both ends, as Python's strip.
  func strippingSpace() -> String { droppingTrailingSpace().strippingLeadingSpace() }

  /// Without white space at its beginning, as Python's lstrip.
  func strippingLeadingSpace() -> String { String(unicodeScalars.drop(while: \.isPythonSpace)) }

  /// The parts between the places where `separator` occurs, at least one.
  func parts(between separator: String) -> [String] {
    let bytes = Array(utf8)
    let wanted = Array(separator.utf8)
    var parts: [String] = []
    var start = 0
    while let found = bytes.firstIndex(of: wanted, from: start) {
      parts.append(String(decoding: bytes[start..<found], as: UTF8.self))
      start = found + wanted.count
    }
    parts.append(String(decoding: bytes[start...], as: UTF8.self))
    return parts
  }

  /// Whether it begins with exactly these bytes.
  func beginsWith(_ prefix: String) -> Bool { utf8.starts(with: prefix.utf8) }

  /// Whether it ends with exactly these bytes.
  func endsWith(_ suffix: String) -> Bool { utf8.reversed().starts(with: suffix.utf8.reversed()) }

  /// Whether these bytes occur in it.
  func holds(_ text: String) -> Bool {
    Array(utf8).firstIndex(of: Array(text.utf8), from: 0) != nil
  }
}

extension Unicode.Scalar {
  /// White space as Python's str.isspace sees it.
  var isPythonSpace: Bool { properties.isWhitespace || (0x1C...0x1F).contains(value) }
}

extension [UInt8] {
  /// Where `wanted` begins at or after `from`; nil if it is empty or does not occur.
  func firstIndex(of wanted: [UInt8], from: Int) -> Int? {
    guard let first = wanted.first else { return nil }
    var index = from
    while index + wanted.count <= count {
      if self[index] == first, self[index..<index + wanted.count].elementsEqual(wanted) {
        return index
      }
      index += 1
    }
    return nil
  }
}
