/// A JSON value as the library gives and takes it. Numbers keep their spelling; objects their order.
enum JSON {
  case null
  case bool(Bool)
  case number(String)
  case string(String)
  indirect case array([JSON])
  indirect case object([(key: String, value: JSON)])

  static func number(_ value: Int) -> JSON { .number(String(value)) }

  /// A number that is not finite has no spelling in JSON and becomes null.
  static func number(_ value: Double) -> JSON { value.isFinite ? .number("\(value)") : .null }

  /// The member of an object; nil for other values and absent members.
  subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.key == key }?.value
  }

  var string: String? {
    if case .string(let text) = self { return text }
    return nil
  }

  var double: Double? {
    if case .number(let text) = self { return Double(text) }
    return nil
  }

  var int: Int? {
    if case .number(let text) = self { return Int(text) }
    return nil
  }

  var array: [JSON]? {
    if case .array(let items) = self { return items }
    return nil
  }

  var isNull: Bool {
    if case .null = self { return true }
    return false
  }
}

// MARK: - Writing

extension JSON {
  /// The value on one line.
  var text: String {
    var out = ""
    write(into: &out, indent: nil)
    return out
  }

  /// The value over several lines, two spaces a level; arrays of plain values stay on one line.
  var prettyText: String {
    var out = ""
    write(into: &out, indent: 0)
    return out
  }

  private var isContainer: Bool {
    switch self {
    case .array, .object: return true
    default: return false
    }
  }

  private func write(into out: inout String, indent: Int?) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .number(let text): out += text
    case .string(let text): JSON.quote(text, into: &out)
    case .array(let items):
      let inner = items.contains(where: \.isContainer) ? indent : nil
      JSON.writeList(items.count, "[", "]", indent: inner, spaced: indent != nil, into: &out) {
        items[$0].write(into: &$1, indent: inner.map { $0 + 1 })
      }
    case .object(let members):
      JSON.writeList(
        members.count, "{", "}", indent: indent, spaced: indent != nil, into: &out
      ) {
        JSON.quote(members[$0].key, into: &$1)
        $1 += indent == nil ? ":" : ": "
        members[$0].value.write(into: &$1, indent: indent.map { $0 + 1 })
      }
    }
  }

  private static func writeList(
    _ count: Int, _ open: String, _ close: String, indent: Int?, spaced: Bool,
    into out: inout String, item: (Int, inout String) -> Void
  ) {
    out += open
    for index in 0..<count {
      if index > 0 { out += spaced && indent == nil ? ", " : "," }
      if let indent { out += "\n" + String(repeating: "  ", count: indent + 1) }
      item(index, &out)
    }
    if let indent, count > 0 { out += "\n" + String(repeating: "  ", count: indent) }
    out += close
  }

  /// Appends `text` as a JSON string; characters outside ASCII stay as they are.
  static func quote(_ text: String, into out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{00}"..<"\u{20}", "\u{7F}":
        let hex = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }

  /// `text` as a JSON string.
  static func quoted(_ text: String) -> String {
    var out = ""
    quote(text, into: &out)
    return out
  }
}
