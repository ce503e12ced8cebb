/// Longest run of bytes of a file or a path that a message shows.
private let shownByteCount = 64

/// Text of unknown origin, fit for a message: no control, format or broken bytes, at most 64 bytes.
///
/// Printable characters stay, backslash and quote get a backslash, everything else becomes `\xNN` or
/// `\u{N}`; three dots stand for what was cut.
package func escaped(_ text: String) -> String {
  var shown = ""
  var used = 0
  for scalar in text.unicodeScalars {
    let width = UTF8.width(scalar)
    if width > shownByteCount - used { return shown + "..." }
    used += width
    appendEscaped(scalar, to: &shown)
  }
  return shown
}

/// Bytes of unknown origin, fit for a message; see `escaped(_: String)`.
package func escaped(_ bytes: some Sequence<UInt8>) -> String {
  var shown = ""
  var used = 0
  for byte in bytes {
    if used == shownByteCount { return shown + "..." }
    used += 1
    if byte < 0x80 {
      appendEscaped(Unicode.Scalar(byte), to: &shown)
    } else {
      shown += "\\x" + hexadecimal(UInt32(byte))
    }
  }
  return shown
}

/// A path, fit for a message: escaped as other text, but it is the front that is cut.
package func escapedPath(_ path: String) -> String {
  var start = path.unicodeScalars.endIndex
  var used = 0
  while start > path.unicodeScalars.startIndex {
    let previous = path.unicodeScalars.index(before: start)
    let width = UTF8.width(path.unicodeScalars[previous])
    if width > shownByteCount - used { break }
    used += width
    start = previous
  }
  var shown = start > path.unicodeScalars.startIndex ? "..." : ""
  for scalar in path.unicodeScalars[start...] { appendEscaped(scalar, to: &shown) }
  return shown
}

/// A list of names for a message, the first few and a count of the others.
func escapedList(_ names: some Collection<String>, limit: Int = 12) -> String {
  var text = names.prefix(limit).map { escaped($0) }.joined(separator: ", ")
  if names.count > limit { text += " and \(names.count - limit) more" }
  return text
}

private func appendEscaped(_ scalar: Unicode.Scalar, to text: inout String) {
  if scalar == "\\" || scalar == "\"" {
    text += "\\"
    text.unicodeScalars.append(scalar)
  } else if scalar.isASCII, scalar.value >= 0x20, scalar.value < 0x7F {
    text.unicodeScalars.append(scalar)
  } else if scalar.isASCII {
    text += "\\x" + hexadecimal(scalar.value)
  } else if isShown(scalar.properties.generalCategory) {
    text.unicodeScalars.append(scalar)
  } else {
    text += "\\u{\(String(scalar.value, radix: 16))}"
  }
}

/// Whether a terminal shows characters of this category and does nothing else with them.
private func isShown(_ category: Unicode.GeneralCategory) -> Bool {
  switch category {
  case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator,
    .paragraphSeparator, .spaceSeparator:
    false
  default: true
  }
}

private func hexadecimal(_ value: UInt32) -> String {
  let digits = String(value, radix: 16)
  return digits.utf8.count < 2 ? "0" + digits : digits
}
