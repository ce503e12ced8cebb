package import QwenFormats

/// One option: how it is checked, and what the documentation says of it.
package struct Option: Sendable {
  /// Which values an option takes.
  package enum Kind: Sendable {
    case bool
    case integer(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    /// One of these words.
    case word([String])
    case strings
    case integers(ClosedRange<Int>)
    /// One of the words, or a number.
    case wordOrNumber([String], ClosedRange<Double>)
    /// One of the words, or an integer.
    case wordOrInteger([String], ClosedRange<Int>)
    /// One of these integers.
    case choice([Int])
    /// An object from token ids to numbers.
    case biases
    /// One of the words, or a list of strings.
    case wordOrStrings([String])
    /// A number of bytes: an integer, or text with a unit, as "24 GiB".
    case bytes
    /// Off, a way to guess ahead, or an object with one way and its numbers.
    case speculation
  }

  package let name: String
  package let kind: Kind
  /// What holds where nobody says anything; null if that depends on the model or the machine.
  package let fallback: JSONValue
  /// What it does, one sentence.
  package let sentence: String

  init(_ name: String, _ kind: Kind, default fallback: JSONValue, _ sentence: String) {
    self.name = name
    self.kind = kind
    self.fallback = fallback
    self.sentence = sentence
  }
}

/// All options of one call. The same table checks requests, documents them and names what was meant.
package struct OptionTable: Sendable {
  /// The section's name in `qwen_describe("options")`.
  package let section: String
  package let options: [Option]

  /// The members of `object` that belong to this table, checked. `others` are keys that the caller reads itself.
  ///
  /// Null stands for "not said". Throws `.option` naming the key and what is allowed.
  package func check(_ object: JSONObject, others: [String] = []) throws(EngineError) -> JSONObject
  {
    var checked = JSONObject()
    for (key, value) in object.entries {
      if let option = options.first(where: { $0.name == key }) {
        guard !value.isNull else { continue }
        try option.check(value)
        checked[key] = value
      } else if !others.contains(key) {
        throw unknown(key, others: others)
      }
    }
    return checked
  }

  /// Options given as JSON text; "" and nil for none.
  package func parse(_ text: String?, others: [String] = []) throws(EngineError) -> JSONObject {
    try check(try OptionTable.object(text, what: "the options"), others: others)
  }

  /// JSON text that must be an object; "" and nil are an empty one.
  package static func object(_ text: String?, what: String) throws(EngineError) -> JSONObject {
    guard let text, !text.isEmpty else { return JSONObject() }
    let value: JSONValue
    do {
      value = try JSONValue(parsing: Array(text.utf8))
    } catch {
      guard error.kind != .memory else {
        throw EngineError(.memory, "there is no memory to read \(what)")
      }
      throw EngineError(
        .option, "\(what) are not JSON: \(error.description)", hint: "pass one JSON object")
    }
    guard let object = value.object else {
      throw EngineError(
        .option, "\(what) are \(value.kindName), not an object", hint: "pass one JSON object")
    }
    return object
  }

  private func unknown(_ key: String, others: [String]) -> EngineError {
    let names = options.map(\.name) + others
    let nearest = nearestName(to: key, in: names)
    return EngineError(
      .option, "unknown option \"\(escaped(key))\"", key: key,
      hint: nearest.map { "did you mean \"\($0)\"?" }
        ?? "there are \(names.joined(separator: ", "))")
  }
}

extension Option {
  /// Throws if `value` is not one this option takes.
  func check(_ value: JSONValue) throws(EngineError) {
    switch kind {
    case .bool: if value.bool == nil { throw wrong(value) }
    case .integer(let range):
      guard let int = value.int else { throw wrong(value) }
      if !range.contains(int) { throw wrong(value) }
    case .number(let range):
      guard let number = value.double else { throw wrong(value) }
      if !range.contains(number) { throw wrong(value) }
    case .word(let words):
      guard let word = value.string, words.contains(word) else { throw wrong(value) }
    case .wordOrNumber(let words, let range):
      if let word = value.string, words.contains(word) { return }
      guard let number = value.double, range.contains(number) else { throw wrong(value) }
    case .wordOrInteger(let words, let range):
      if let word = value.string, words.contains(word) { return }
      guard let int = value.int, range.contains(int) else { throw wrong(value) }
    case .choice(let values):
      guard let int = value.int, values.contains(int) else { throw wrong(value) }
    case .biases:
      guard let entries = value.object?.entries,
        entries.allSatisfy({
          Int32($0.key) ?? -1 >= 0 && $0.value.double.map { abs($0) <= 1e9 } ?? false
        })
      else { throw wrong(value) }
    case .bytes: if ByteSize(value) == nil { throw wrong(value) }
    case .strings:
      guard value.string != nil || value.array?.allSatisfy({ $0.string != nil }) == true else {
        throw wrong(value)
      }
    case .integers(let range):
      guard value.array?.allSatisfy({ $0.int.map(range.contains) ?? false }) == true else {
        throw wrong(value)
      }
    case .wordOrStrings(let words):
      if let word = value.string, words.contains(word) { return }
      guard value.array?.allSatisfy({ $0.string != nil }) == true else { throw wrong(value) }
    case .speculation: if !SpeculationOptions.isValid(value) { throw wrong(value) }
    }
  }

  /// What is allowed, for messages.
  package var allowed: String {
    switch kind {
    case .bool: "true or false"
    case .integer(let range): "an integer from \(range.lowerBound) to \(range.upperBound)"
    case .number(let range): "a number from \(range.lowerBound) to \(range.upperBound)"
    case .word(let words): "one of " + words.map { "\"\($0)\"" }.joined(separator: ", ")
    case .wordOrNumber(let words, let range):
      words.map { "\"\($0)\"" }.joined(separator: ", ")
        + " or a number from \(range.lowerBound) to \(range.upperBound)"
    case .wordOrInteger(let words, let range):
      words.map { "\"\($0)\"" }.joined(separator: ", ")
        + " or an integer from \(range.lowerBound) to \(range.upperBound)"
    case .choice(let values): "one of " + values.map(String.init).joined(separator: ", ")
    case .biases: "an object from token ids to numbers from -1e9 to 1e9"
    case .strings: "a string or a list of strings"
    case .bytes: "a number of bytes up to 2^50, or text with a unit, as \"24 GiB\""
    case .integers(let range):
      "a list of integers from \(range.lowerBound) to \(range.upperBound)"
    case .wordOrStrings(let words):
      words.map { "\"\($0)\"" }.joined(separator: ", ") + " or a list of strings"
    case .speculation: SpeculationOptions.allowed
    }
  }

  private func wrong(_ value: JSONValue) -> EngineError {
    let shown: String =
      switch value {
      case .object, .array: value.kindName
      case .string(let text): "\"\(escaped(text))\""
      default: value.serialized()
      }
    return EngineError(
      .option, "option \"\(name)\" is \(shown)", key: name, hint: "it takes \(allowed)")
  }
}

/// The name with the fewest edits from `text`, if it is close enough to have been meant.
func nearestName(to text: String, in names: [String]) -> String? {
  guard text.utf8.count <= 64 else { return nil }
  let scored = names.map { ($0, editDistance(Array(text.utf8), Array($0.utf8))) }
  guard let best = scored.min(by: { $0.1 < $1.1 }) else { return nil }
  return best.1 <= max(2, best.0.utf8.count / 3) ? best.0 : nil
}

/// Levenshtein distance in bytes.
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var previous = Array(0...right.count)
  for (row, byte) in left.enumerated() {
    var current = [row + 1]
    for (column, other) in right.enumerated() {
      current.append(
        min(
          previous[column] + (byte == other ? 0 : 1), previous[column + 1] + 1, current[column] + 1)
      )
    }
    previous = current
  }
  return previous[right.count]
}
