/// Finds texts in a stream and holds back only what may become one of them.
///
/// Which texts are looked for may change between two finds. The leftmost counts, of several at one place
/// the longest.
struct MarkerScanner: Sendable {
  private var held: [UInt8] = []

  /// Takes more of the stream.
  mutating func append(_ text: String) { held.append(contentsOf: text.utf8) }

  /// What a look at the stream gives.
  struct Step {
    /// Text that is certain to belong to no wanted text.
    var text: String
    /// The wanted text behind it, by number; nil if none is complete.
    var found: Int?
  }

  /// The text up to the next of `wanted`, which is taken out of the stream. Call again after a find.
  mutating func next(_ wanted: [[UInt8]]) -> Step {
    var index = 0
    while index < held.count {
      var longest: Int?
      var mayBegin = false
      for (number, text) in wanted.enumerated() {
        guard held[index] == text.first else { continue }
        let count = min(text.count, held.count - index)
        guard held[index..<index + count].elementsEqual(text[..<count]) else { continue }
        if count < text.count {
          mayBegin = true
        } else if text.count > longest.map({ wanted[$0].count }) ?? 0 {
          longest = number
        }
      }
      if mayBegin { break }
      if let longest {
        let text = take(index)
        held.removeFirst(wanted[longest].count)
        return Step(text: text, found: longest)
      }
      index += 1
    }
    return Step(text: take(index), found: nil)
  }

  /// Everything that is held back.
  mutating func finish() -> String { take(held.count) }

  private mutating func take(_ count: Int) -> String {
    let text = String(decoding: held.prefix(count), as: UTF8.self)
    held.removeFirst(count)
    return text
  }
}
