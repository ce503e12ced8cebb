import CQwen

/// One option of the library, as `qwen_describe("options")` tells it.
struct LibraryOption {
  let section: String
  let name: String
  let type: String
  let fallback: JSON?
  let minimum: JSON?
  let maximum: JSON?
  let values: [String]
  let sentence: String

  /// As written on the command line.
  var flag: String { "--" + name.replacing("_", with: "-") }

  var isFlag: Bool { type.hasPrefix("bool") }
  private var isText: Bool { type == "string" || type == "text" }
  private var isList: Bool {
    !isText && (type.hasSuffix("s") || type.contains("[") || type == "array")
  }

  /// What the help shows behind the flag.
  var placeholder: String {
    if !values.isEmpty && values.count <= 6 { return values.joined(separator: "|") }
    if isFlag { return "true|false" }
    return type.uppercased()
  }

  /// The sentence with default and range.
  var help: String {
    var notes: [String] = []
    if let fallback, !fallback.isNull {
      notes.append("default \(fallback.string ?? fallback.text)")
    }
    switch (minimum, maximum) {
    case (let low?, let high?) where !low.isNull && !high.isNull:
      notes.append("\(low.text) to \(high.text)")
    case (let low?, _) where !low.isNull: notes.append("at least \(low.text)")
    case (_, let high?) where !high.isNull: notes.append("at most \(high.text)")
    default: break
    }
    return notes.isEmpty ? sentence : "\(sentence) (\(notes.joined(separator: "; ")))"
  }

  /// The JSON for what was typed, on top of what was given before. Only its shape is decided
  /// here; whether the value is allowed is for the library to say.
  func encode(_ typed: String, after earlier: JSON?) -> JSON {
    if isText { return .string(typed) }
    let parsed = JSON(parsing: typed)
    guard isList else {
      return parsed ?? .string(typed)
    }
    if case .array? = parsed { return parsed ?? .null }
    let isTextList = type.contains("str") || type.contains("text")
    var items = earlier?.array ?? []
    if isTextList {
      items.append(.string(typed))
    } else {
      for part in typed.split(separator: ",") {
        items.append(JSON(parsing: String(part)) ?? .string(String(part)))
      }
    }
    return .array(items)
  }
}

/// The library's options by section: "open", "session", "generate".
struct OptionTable {
  let options: [LibraryOption]

  /// Asks the library, so that help and parsing are never behind it.
  init(sections: [String]) throws(Failure) {
    guard !sections.isEmpty else {
      options = []
      return
    }
    let answer = try readAnswer(try takeText { qwen_describe("options", $0) })
    options = sections.flatMap { section in
      (answer[section]?.array ?? []).compactMap { row in
        guard let name = row["name"]?.string else { return nil }
        return LibraryOption(
          section: section, name: name, type: row["type"]?.string ?? "any",
          fallback: row["default"], minimum: row["minimum"], maximum: row["maximum"],
          values: (row["values"]?.array ?? []).map { $0.string ?? $0.text },
          sentence: row["sentence"]?.string ?? "")
      }
    }
  }

  /// The option with this name in any section of the table; several if sections share it.
  func named(_ name: String) -> [LibraryOption] { options.filter { $0.name == name } }
}

/// Options given so far, one object a section, in the order they came.
struct GivenOptions {
  private var members: [String: [(key: String, value: JSON)]] = [:]

  /// The object for a section, empty if nothing was given.
  subscript(section: String) -> JSON { .object(members[section] ?? []) }

  /// The names and values given for a section.
  func list(_ section: String) -> [(key: String, value: JSON)] { members[section] ?? [] }

  func value(_ section: String, _ name: String) -> JSON? { self[section][name] }

  mutating func set(_ section: String, _ name: String, to value: JSON) {
    remove(section, name)
    members[section, default: []].append((name, value))
  }

  mutating func remove(_ section: String, _ name: String) {
    members[section]?.removeAll { $0.key == name }
  }

  /// Takes what was typed for `option`; a list grows, anything else is replaced.
  mutating func set(_ option: LibraryOption, typed: String) {
    let earlier = value(option.section, option.name)
    set(option.section, option.name, to: option.encode(typed, after: earlier))
  }
}
