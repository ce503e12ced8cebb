internal import QwenFormats

/// Reads typed keys of a config.json, each under the first of its names that is there.
struct ConfigReader {
  let object: JSONObject
  let path: String

  /// An integer, or `fallback` if none of the names is there or all are null.
  func int(_ names: String..., default fallback: Int? = nil) throws(FormatError) -> Int {
    guard let (name, value) = first(names) else {
      if let fallback { return fallback }
      throw missing(names)
    }
    guard let int = value.int else { throw wrong(name, value, "an integer") }
    return int
  }

  /// A number, or `fallback`.
  func double(_ names: String..., default fallback: Double? = nil) throws(FormatError) -> Double {
    guard let (name, value) = first(names) else {
      if let fallback { return fallback }
      throw missing(names)
    }
    guard let double = value.double else { throw wrong(name, value, "a number") }
    return double
  }

  /// True or false, or `fallback`.
  func bool(_ names: String..., default fallback: Bool) throws(FormatError) -> Bool {
    guard let (name, value) = first(names) else { return fallback }
    guard let bool = value.bool else { throw wrong(name, value, "true or false") }
    return bool
  }

  /// A string, nil if it is not there.
  func string(_ names: String...) throws(FormatError) -> String? {
    guard let (name, value) = first(names) else { return nil }
    guard let string = value.string else { throw wrong(name, value, "a string") }
    return string
  }

  /// The object of that name with the same path, nil if it is not there.
  func child(_ names: String...) throws(FormatError) -> ConfigReader? {
    guard let (name, value) = first(names) else { return nil }
    guard let object = value.object else { throw wrong(name, value, "an object") }
    return ConfigReader(object: object, path: path)
  }

  func error(_ message: String, hint: String? = nil) -> FormatError {
    FormatError(.malformed, path: path, message, hint: hint)
  }

  private func first(_ names: [String]) -> (String, JSONValue)? {
    for name in names {
      if let value = object[name], !value.isNull { return (name, value) }
    }
    return nil
  }

  private func missing(_ names: [String]) -> FormatError {
    error(
      "has no \"\(names[0])\"", hint: "is this the config.json of a language model?")
  }

  private func wrong(_ name: String, _ value: JSONValue, _ wanted: String) -> FormatError {
    error("\"\(name)\" is \(value.kindName), not \(wanted)")
  }
}
