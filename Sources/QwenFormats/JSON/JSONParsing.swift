/// Text that is not JSON, or JSON beyond a limit; line and column count from 1, the offset from 0.
package struct JSONSyntaxError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The class of the failure.
  package enum Kind: Sendable { case syntax, limit, memory }

  package var kind: Kind
  /// What is wrong, without the place.
  package var message: String
  package var line: Int
  /// In characters.
  package var column: Int
  /// In bytes.
  package var offset: Int

  /// What it is of a file.
  package var formatKind: FormatError.Kind {
    switch kind {
    case .syntax: .malformed
    case .limit: .limit
    case .memory: .memory
    }
  }

  /// The whole as one sentence: `line 3, column 7: message`.
  package var description: String { "line \(line), column \(column): \(message)" }
}

extension JSONValue {
  /// Most values that one text may hold; each costs about 60 bytes while it is read.
  package static let defaultMaximumValueCount = 4_000_000
  /// Longest text that is read when the caller names no limit: 64 MiB.
  package static let defaultMaximumByteCount = 64 << 20

  /// Reads JSON text (RFC 8259, UTF-8, a byte order mark is passed over).
  ///
  /// Refused: a name that occurs twice in one object, NaN and Infinity, numbers too large for a Double,
  /// half a surrogate pair, a NUL in a name, more levels than `maximumDepth`. An integer that does not fit
  /// 64 bits is read as the nearest Double. The host's locale plays no part.
  package init(
    parsing text: UnsafeRawBufferPointer, maximumDepth: Int = 64,
    maximumBytes: Int = JSONValue.defaultMaximumByteCount,
    maximumValueCount: Int = JSONValue.defaultMaximumValueCount
  ) throws(JSONSyntaxError) {
    guard text.count <= maximumBytes else {
      throw JSONSyntaxError(
        kind: .limit, message: "\(text.count) bytes are more than the \(maximumBytes) allowed",
        line: 1, column: 1, offset: 0)
    }
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let skipped = unsafe text.starts(with: mark) ? mark.count : 0
    let body = unsafe UnsafeRawBufferPointer(rebasing: text[skipped...])
    let scan = unsafe JSONScan(
      body, maximumDepth: maximumDepth, maximumValueCount: maximumValueCount)
    if let offset = scan.tooDeep {
      throw unsafe JSONSyntaxError(
        .limit, "more than \(maximumDepth) levels of arrays and objects", at: offset, in: body)
    }
    if let offset = scan.tooMany {
      throw unsafe JSONSyntaxError(
        .limit, "more than \(maximumValueCount) values", at: offset, in: body)
    }
    let document =
      scan.longIntegerEnds.isEmpty
      ? try unsafe JSONDocument(body)
      : try unsafe JSONDocument(body, decimalsAt: scan.longIntegerEnds)
    self = document.value()
  }

  /// Reads JSON text from bytes; see `init(parsing: UnsafeRawBufferPointer)`.
  package init(
    parsing text: [UInt8], maximumDepth: Int = 64,
    maximumBytes: Int = JSONValue.defaultMaximumByteCount
  ) throws(JSONSyntaxError) {
    self = try unsafe text.withUnsafeBufferPointer { (bytes) throws(JSONSyntaxError) in
      try unsafe JSONValue(
        parsing: UnsafeRawBufferPointer(bytes), maximumDepth: maximumDepth,
        maximumBytes: maximumBytes)
    }
  }

  /// Reads JSON text; see `init(parsing: UnsafeRawBufferPointer)`.
  package init(
    parsing text: String, maximumDepth: Int = 64,
    maximumBytes: Int = JSONValue.defaultMaximumByteCount
  ) throws(JSONSyntaxError) {
    var text = text
    // withUTF8 has no typed throws, hence the Result.
    let parsed = text.withUTF8 { bytes in
      Result { () throws(JSONSyntaxError) in
        try unsafe JSONValue(
          parsing: UnsafeRawBufferPointer(bytes), maximumDepth: maximumDepth,
          maximumBytes: maximumBytes)
      }
    }
    self = try parsed.get()
  }
}

extension JSONSyntaxError {
  /// An error at a byte of the text, with line and column counted.
  init(_ kind: Kind, _ message: String, at offset: Int, in text: UnsafeRawBufferPointer) {
    var line = 1
    var column = 1
    for index in 0..<min(offset, text.count) {
      let byte = unsafe text[index]
      if byte == UInt8(ascii: "\n") {
        line += 1
        column = 1
      } else if byte & 0xC0 != 0x80 {
        column += 1
      }
    }
    self.init(kind: kind, message: message, line: line, column: column, offset: offset)
  }
}
