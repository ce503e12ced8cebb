/// The splitter of GPT-2. As a regular expression, alternatives in order:
///
///     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
///
/// With `digitsAlone` every numeric character is first cut out, as SmolLM does, and the expression sees
/// only the stretches between them: there a space never leads a digit, and a run of white space before
/// a digit is whole, since its stretch ends there.
enum GPT2Splitter {
  /// End of the piece that begins at `index`; `index < end`, well-formed UTF-8.
  @inline(__always)
  static func next(
    _ text: Span<UInt8>, _ index: Int, _ end: Int, _ classes: UnicodeClasses, digitsAlone: Bool
  ) -> Int {
    let first = text[index]
    if first == 0x27, let stop = contraction(text, index, end) { return stop }

    var (bits, width) = classes.at(text, index)
    var body = index &+ width
    if first == 0x20, body < end {
      let (nextBits, nextWidth) = classes.at(text, body)
      let standsAlone: UnicodeClass = digitsAlone ? [.space, .number] : .space
      if nextBits.isDisjoint(with: standsAlone) {
        bits = nextBits
        body &+= nextWidth
      }
    }
    if bits.contains(.letter) { return Splitter.letters(text, body, end, classes) }
    if bits.contains(.number) {
      return digitsAlone ? body : Splitter.run(of: .number, text, body, end, classes)
    }
    if !bits.contains(.space) {
      return Splitter.run(without: [.letter, .number, .space], text, body, end, classes)
    }
    return spaces(text, index, end, classes, digitsAlone: digitsAlone)
  }

  /// `\s+(?!\S)|\s+` where a white-space character begins.
  private static func spaces(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, _ classes: UnicodeClasses, digitsAlone: Bool
  ) -> Int {
    var index = start
    var last = start
    while index < end {
      let (bits, width) = classes.at(text, index)
      if !bits.contains(.space) {
        if digitsAlone, bits.contains(.number) { return index }
        return last == start ? index : last
      }
      last = index
      index &+= width
    }
    return end
  }

  /// `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe.
  private static func contraction(_ text: Span<UInt8>, _ index: Int, _ end: Int) -> Int? {
    guard index &+ 1 < end else { return nil }
    let second = index &+ 2 < end ? text[index &+ 2] : 0
    switch text[index &+ 1] {
    case 0x73, 0x74, 0x6D, 0x64: return index &+ 2
    case 0x72, 0x76: return second == 0x65 ? index &+ 3 : nil
    case 0x6C: return second == 0x6C ? index &+ 3 : nil
    default: return nil
    }
  }
}
