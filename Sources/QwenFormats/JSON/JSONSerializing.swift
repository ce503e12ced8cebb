extension JSONValue {
  /// The value as JSON text in UTF-8.
  ///
  /// Doubles take the fewest digits that read back as the same value; NaN and infinities become null.
  /// Characters beyond ASCII stay as they are. `pretty` puts each element on its own line, indented by two.
  /// Recurses as deep as the value.
  package func serialized(pretty: Bool = false) -> String {
    serialized(pretty ? .pretty : .compact)
  }

  /// The value as Python's json.dumps writes it with ensure_ascii=False: a space behind commas and colons,
  /// and numbers in Python's form. Chat templates put tools and arguments into prompts like this.
  package func serializedAsPython() -> String { serialized(.python) }

  private func serialized(_ style: JSONWriter.Style) -> String {
    var writer = JSONWriter(style: style)
    writer.write(self, depth: 0)
    return String(decoding: writer.bytes, as: UTF8.self)
  }
}

private struct JSONWriter {
  enum Style { case compact, pretty, python }

  let style: Style
  var bytes: [UInt8] = []

  init(style: Style) { self.style = style }

  mutating func write(_ value: JSONValue, depth: Int) {
    switch value {
    case .null: write("null")
    case .bool(let value): write(value ? "true" : "false")
    case .integer(let value): write(String(value))
    case .number(let value) where !value.isFinite: write("null")
    case .number(let value): write(style == .python ? pythonText(value) : value.description)
    case .string(let value): writeQuoted(value)
    case .array(let values):
      writeList("[", "]", count: values.count, depth: depth) { writer, index in
        writer.write(values[index], depth: depth + 1)
      }
    case .object(let object):
      let entries = object.entries
      writeList("{", "}", count: entries.count, depth: depth) { writer, index in
        writer.writeQuoted(entries[index].key)
        writer.write(writer.style == .compact ? ":" : ": ")
        writer.write(entries[index].value, depth: depth + 1)
      }
    }
  }

  private mutating func writeList(
    _ open: String, _ close: String, count: Int, depth: Int,
    element: (inout JSONWriter, Int) -> Void
  ) {
    write(open)
    for index in 0..<count {
      if index > 0 { write(style == .python ? ", " : ",") }
      writeLineBreak(depth: depth + 1)
      element(&self, index)
    }
    if count > 0 { writeLineBreak(depth: depth) }
    write(close)
  }

  private mutating func writeLineBreak(depth: Int) {
    guard style == .pretty else { return }
    bytes.append(UInt8(ascii: "\n"))
    bytes.append(contentsOf: repeatElement(UInt8(ascii: " "), count: 2 * depth))
  }

  private mutating func write(_ text: String) { bytes.append(contentsOf: text.utf8) }

  private mutating func writeQuoted(_ text: String) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): write("\\\"")
      case UInt8(ascii: "\\"): write("\\\\")
      case 0x08: write("\\b")
      case 0x09: write("\\t")
      case 0x0A: write("\\n")
      case 0x0C: write("\\f")
      case 0x0D: write("\\r")
      case 0..<0x20: write(byte < 0x10 ? "\\u000" : "\\u00"); write(String(byte, radix: 16))
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}

/// A finite number as Python's repr: the same shortest digits as Swift's, positional from 1e-4 to below 1e16.
private func pythonText(_ value: Double) -> String {
  let text = value.description
  guard abs(value) >= 1e16, !text.utf8.contains(UInt8(ascii: "e")) else { return text }
  // Swift stays positional up to 2^54: 12345678901234568.0 is 1.2345678901234568e+16.
  let sign = value < 0 ? "-" : ""
  var digits = Array(text.utf8.filter { (0x30...0x39).contains($0) }.dropLast())
  let exponent = digits.count - 1
  while digits.count > 1, digits.last == 0x30 { digits.removeLast() }
  let head = String(decoding: digits.prefix(1), as: UTF8.self)
  let tail = String(decoding: digits.dropFirst(), as: UTF8.self)
  return sign + head + (tail.isEmpty ? "" : "." + tail) + "e+\(exponent)"
}
