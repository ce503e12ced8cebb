internal import QwenFormats

/// Reads {"name": ..., "arguments": ...} as it comes, so that the name and the text of the arguments are known
/// before the end. Quotes of either kind; the two members in either order.
struct CallBody: Sendable {
  /// What became known.
  enum Piece: Equatable {
    case name(String)
    /// A piece of the arguments' text; only behind the name.
    case arguments(String)
  }

  private enum State {
    /// Before the opening brace; between members; in a name without quotes; behind a name; in a value; behind
    /// the closing brace.
    case start, member, bareName, colon, value, over
  }

  private(set) var bytes: [UInt8] = []
  private(set) var name: String?
  /// Text of the arguments as far as it is known.
  private(set) var arguments = ""
  private var state = State.start
  private var position = 0
  private var key = ""
  /// Where the key or the value at hand begins.
  private var start = 0
  private var depth = 0
  private var quote: UInt8?
  private var isEscaped = false
  /// The bytes of the arguments that were handed out already.
  private var argumentStart: Int?
  private var argumentEnd: Int?
  private var handedOut = 0

  /// Takes more of the text.
  mutating func push(_ text: String) -> [Piece] {
    bytes.append(contentsOf: text.utf8)
    var pieces: [Piece] = []
    while position < bytes.count {
      let hadName = name != nil
      step(bytes[position])
      if !hadName, let name { pieces.append(.name(name)) }
    }
    if name != nil, let piece = takeArguments() { pieces.append(.arguments(piece)) }
    return pieces
  }

  /// What is left when the text is over.
  mutating func finish() -> [Piece] {
    if state == .value, key == "arguments", argumentEnd == nil { endValue(bytes.count) }
    guard name != nil, let piece = takeArguments() else { return [] }
    return [.arguments(piece)]
  }

  private mutating func takeArguments() -> String? {
    guard let first = argumentStart else { return nil }
    let from = first + handedOut
    var end = argumentEnd ?? bytes.count
    // White space may turn out to stand behind the arguments.
    if argumentEnd == nil { while end > from, isSpace(bytes[end - 1]) { end -= 1 } }
    guard end > from else { return nil }
    handedOut += end - from
    let piece = String(decoding: bytes[from..<end], as: UTF8.self)
    arguments += piece
    return piece
  }

  private mutating func step(_ byte: UInt8) {
    switch state {
    case .start:
      if byte == UInt8(ascii: "{") { state = .member }
      position += 1
    case .member: member(byte)
    case .bareName:
      if byte == UInt8(ascii: ":") {
        found(String(decoding: bytes[start..<position], as: UTF8.self).strippingSpace())
      }
      position += 1
    case .colon:
      position += 1
      if byte == UInt8(ascii: ":") || isSpace(byte) { return }
      position -= 1
      start = position
      depth = 0
      quote = nil
      state = .value
      if key == "arguments" { argumentStart = position }
    case .value: value(byte)
    case .over: position += 1
    }
  }

  /// Notes the name of the member whose value comes next.
  private mutating func found(_ name: String) {
    key = ["parameters", "args"].contains(name) ? "arguments" : name
    state = .colon
  }

  /// Looks for the name of a member.
  private mutating func member(_ byte: UInt8) {
    if let open = quote {
      position += 1
      if byte == open {
        quote = nil
        found(String(decoding: bytes[start..<position - 1], as: UTF8.self))
      }
      return
    }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      quote = byte
      start = position
    case UInt8(ascii: "}"): state = .over
    case UInt8(ascii: ","): break
    default:
      guard !isSpace(byte) else { break }
      start = position - 1
      state = .bareName
    }
  }

  private mutating func value(_ byte: UInt8) {
    if let open = quote {
      position += 1
      if isEscaped {
        isEscaped = false
      } else if byte == UInt8(ascii: "\\") {
        isEscaped = true
      } else if byte == open {
        quote = nil
        if depth == 0 { endValue(position) }
      }
      return
    }
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "'"):
      quote = byte
    case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
    case UInt8(ascii: "}"), UInt8(ascii: "]"):
      if depth == 0 {
        // The brace of the whole ends a bare value.
        endValue(position)
        state = .over
        position += 1
        return
      }
      depth -= 1
      if depth == 0 {
        position += 1
        endValue(position)
        return
      }
    case UInt8(ascii: ","):
      if depth == 0 {
        endValue(position)
        return
      }
    default: break
    }
    position += 1
  }

  private mutating func endValue(_ end: Int) {
    state = .member
    switch key {
    case "name" where name == nil:
      let text = String(decoding: bytes[start..<end], as: UTF8.self)
      name = LenientJSON.read(text)?.value.string ?? text.strippingSpace()
    case "arguments" where argumentEnd == nil:
      var last = end
      while last > start, isSpace(bytes[last - 1]) { last -= 1 }
      argumentEnd = last
    default: break
    }
  }

  private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
}
