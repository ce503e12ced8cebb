/// Tokens to text as they come: whole characters only, a started one is held back.
///
/// The pieces joined are the text of all the tokens, however it was cut into tokens.
package struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecial: Bool
  /// At most 3 bytes between pushes: the beginning of a character.
  private var pending: [UInt8] = []
  /// Characters on their way out; keeps its memory.
  private var ready: [UInt8] = []

  /// With `skipSpecial` control tokens give no text; `<think>` and its like still do.
  package init(tokenizer: Tokenizer, skipSpecial: Bool) {
    self.tokenizer = tokenizer
    self.skipSpecial = skipSpecial
  }

  /// Whether the beginning of a character is held back.
  package var isHolding: Bool { !pending.isEmpty }

  /// The characters this token completes; "" if none. An id without text gives nothing.
  package mutating func push(_ id: Int32) -> String {
    tokenizer.appendBytes(of: id, skipSpecial: skipSpecial, to: &pending)
    return take(isLast: false)
  }

  /// What is left, an unfinished character as one U+FFFD; the decoder is then as new.
  package mutating func finish() -> String { take(isLast: true) }

  private mutating func take(isLast: Bool) -> String {
    ready.removeAll(keepingCapacity: true)
    let read = Self.cut(pending, isLast: isLast, into: &ready)
    pending.removeFirst(read)
    return String(decoding: ready, as: UTF8.self)
  }

  /// Appends the whole characters at the front of `held` to `ready`, and how many bytes of it they took.
  private static func cut(_ held: [UInt8], isLast: Bool, into ready: inout [UInt8]) -> Int {
    let span = held.span
    var index = 0
    while index < span.count {
      switch UTF8Text.unit(span, index) {
      case .whole(let width):
        for offset in 0..<width { ready.append(span[index + offset]) }
        index += width
      case .broken(let width):
        ready.append(contentsOf: replacement)
        index += width
      case .incomplete(let width):
        if !isLast { return index }
        ready.append(contentsOf: replacement)
        index += width
      }
    }
    return index
  }

  /// U+FFFD.
  private static let replacement: [UInt8] = [0xEF, 0xBF, 0xBD]
}
