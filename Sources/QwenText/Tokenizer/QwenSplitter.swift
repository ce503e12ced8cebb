/// The splitter of Qwen 1 to 3. As a regular expression, alternatives in order:
///
///     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}
///     | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
enum QwenSplitter {
  /// End of the piece that begins at `index`; `index < end`, well-formed UTF-8.
  @inline(__always)
  static func next(
    _ text: Span<UInt8>, _ index: Int, _ end: Int, _ classes: UnicodeClasses
  ) -> Int {
    let first = text[index]
    if first == 0x27, let stop = contraction(text, index, end) { return stop }

    let (bits, width) = classes.at(text, index)
    let second = index &+ width
    if bits.contains(.letter) {
      return Splitter.letters(text, second, end, classes)
    }
    if bits.contains(.number) { return second }
    // One character that is no line end may lead a word.
    if !bits.contains(.newline), second < end {
      let (nextBits, nextWidth) = classes.at(text, second)
      if nextBits.contains(.letter) {
        return Splitter.letters(text, second &+ nextWidth, end, classes)
      }
      // A space may lead marks.
      if first == 0x20, nextBits.isDisjoint(with: [.letter, .number, .space]) {
        return marks(text, second &+ nextWidth, end, classes)
      }
    }
    if !bits.contains(.space) { return marks(text, second, end, classes) }
    return spaces(text, index, end, classes)
  }

  /// `[^\s\p{L}\p{N}]*[\r\n]*`
  @inline(__always)
  private static func marks(
    _ text: Span<UInt8>, _ index: Int, _ end: Int, _ classes: UnicodeClasses
  ) -> Int {
    var index = Splitter.run(
      without: [.letter, .number, .space], text, index, end, classes)
    while index < end, text[index] == 0x0A || text[index] == 0x0D { index &+= 1 }
    return index
  }

  /// `\s*[\r\n]+|\s+(?!\S)|\s+` where a white-space character begins.
  @inline(__always)
  private static func spaces(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, _ classes: UnicodeClasses
  ) -> Int {
    var index = start
    var last = start
    var newlineEnd = start
    while index < end {
      let (bits, width) = classes.at(text, index)
      if !bits.contains(.space) { break }
      last = index
      index &+= width
      if bits.contains(.newline) { newlineEnd = index }
    }
    if newlineEnd > start { return newlineEnd }
    // The last space of a run is left for what follows it.
    return index == end || last == start ? index : last
  }

  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)` at an apostrophe; U+017F folds to s.
  private static func contraction(_ text: Span<UInt8>, _ index: Int, _ end: Int) -> Int? {
    guard index &+ 1 < end else { return nil }
    let first = text[index &+ 1]
    let second = index &+ 2 < end ? text[index &+ 2] : 0
    switch first | 0x20 {
    case 0x73, 0x74, 0x6D, 0x64: return index &+ 2
    case 0x72, 0x76: return second | 0x20 == 0x65 ? index &+ 3 : nil
    case 0x6C: return second | 0x20 == 0x6C ? index &+ 3 : nil
    default: return first == 0xC5 && second == 0xBF ? index &+ 3 : nil
    }
  }
}
