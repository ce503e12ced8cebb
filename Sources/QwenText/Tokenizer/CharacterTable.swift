/// Where merging may begin from whole characters instead of bytes, with the same result.
///
/// Merges run by rising rank: that is checked when the table is made. So a character whose bytes merge to one
/// token on their own does so in a text as well, unless a token exists that joins a part of it to a
/// neighbour. Which neighbours can do that is kept as the pair of bytes that meet between them.
///
/// Between two characters that no token holds side by side, nor a part of one with the other, nothing is ever merged: a
/// text may be cut there. Of Chinese that leaves segments of one or two characters, nine in ten of them tokens.
struct CharacterTable: Sendable {
  /// Token of each code point of 2 or 3 bytes, -1 where its bytes stay apart.
  private let ids: [Int32]
  /// A bit for each (last byte of a character, first byte of the next) where a token crosses into one of them.
  private let crossings: [UInt64]
  /// A bit for the hash of two characters that stand side by side in a token; other pairs may share it.
  private let neighbours: [UInt64]
  private static let neighbourBits: UInt64 = 19

  /// The table of a vocabulary; nil if its merges don't run by rising rank, or if a byte has no token.
  init?(_ merger: BytePairMerger, _ tokens: TokenBytes) {
    guard merger.byteIDs.allSatisfy({ $0 >= 0 }), merger.pairs.ranksRise(tokens: tokens.count)
    else { return nil }
    var neighbours = [UInt64](repeating: 0, count: 1 << (Self.neighbourBits - 6))
    var crossings = [UInt64](repeating: 0, count: 1024)
    let text = tokens.blob.span
    var ids = [Int32](repeating: -1, count: 0x10000)
    var scratch = BytePairMerger.Scratch()
    for id in 0..<tokens.count where tokens.kinds[id] == .normal {
      let id = Int32(truncatingIfNeeded: id)
      let (start, end) = tokens.bounds(id)
      // Letters of one byte are nobody's parts, and are not looked up beside each other.
      if Self.isASCII(text, start, end) { continue }
      Self.forEachCut(text, start, end) { cut in
        let bit = Self.bit(text[cut - 1], text[cut])
        crossings[bit &>> 6] |= 1 &<< UInt64(bit & 63)
      }
      Self.markNeighbours(text, start, end, &neighbours)
      guard 2...3 ~= end - start, UTF8Text.unit(text, start) == .whole(end - start) else {
        continue
      }
      merger.merge(text, start, end, &scratch)
      if scratch.ids.count == 1, scratch.ids[0] == id {
        ids[Int(UTF8Text.scalar(text, start).point)] = id
      }
    }
    self.ids = ids
    self.crossings = crossings
    self.neighbours = neighbours
  }

  /// The token of a character of 2 or 3 bytes, -1 for none.
  @inline(__always)
  func id(_ point: UInt32) -> Int32 { ids[Int(point)] }

  /// Whether a token may join a part of a character that ends in `last` to one that begins with `first`.
  @inline(__always)
  func isCrossed(_ last: UInt8, _ first: UInt8) -> Bool {
    let bit = Self.bit(last, first)
    return crossings[bit &>> 6] &>> UInt64(bit & 63) & 1 != 0
  }

  /// End of the first segment of `text[start ..< end]` that nothing joins to what follows it; `end` if all of it may be
  /// joined. Well-formed UTF-8, not empty.
  @inline(__always)
  func segment(_ text: Span<UInt8>, _ start: Int, _ end: Int) -> Int {
    var (point, width) = UTF8Text.scalar(text, start)
    var index = start &+ width
    while index < end {
      let last = point
      (point, width) = UTF8Text.scalar(text, index)
      // Letters of one byte have been seen beside any other.
      if last | point >= 0x80, !isCrossed(text[index &- 1], text[index]) {
        let bit = Self.neighbourBit(last, point)
        if neighbours[bit &>> 6] &>> UInt64(bit & 63) & 1 == 0 { return index }
      }
      index &+= width
    }
    return end
  }

  @inline(__always)
  private static func neighbourBit(_ left: UInt32, _ right: UInt32) -> Int {
    let key = UInt64(left) &<< 32 | UInt64(right)
    return Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) &>> (64 &- neighbourBits))
  }

  /// Marks every two characters that a token holds whole. Where it is no text, `cuts` marks their bytes.
  private static func markNeighbours(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, _ neighbours: inout [UInt64]
  ) {
    var last: UInt32? = nil
    var index = start
    while index < end {
      guard case .whole(let width) = UTF8Text.unit(text, index), index + width <= end else {
        last = nil
        index += 1
        continue
      }
      let point = UTF8Text.scalar(text, index).point
      if let last {
        let bit = neighbourBit(last, point)
        neighbours[bit &>> 6] |= 1 &<< UInt64(bit & 63)
      }
      last = point
      index += width
    }
  }

  @inline(__always)
  private static func bit(_ last: UInt8, _ first: UInt8) -> Int { Int(last) &<< 8 | Int(first) }

  private static func isASCII(_ text: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    var index = start
    var all: UInt8 = 0
    while index < end {
      all |= text[index]
      index &+= 1
    }
    return all < 0x80
  }

  /// Where in a token a part of a character meets the next one; every place if the token can't be cut into
  /// characters and parts of them at its ends.
  @inline(__always)
  private static func forEachCut(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, _ body: (Int) -> Void
  ) {
    var index = start
    while index < end, text[index] & 0xC0 == 0x80 { index += 1 }
    var isCuttable = index - start <= 3
    if isCuttable, index > start, index < end { body(index) }
    while isCuttable, index < end {
      let width =
        switch text[index] {
        case 0..<0x80: 1
        case 0xC2..<0xE0: 2
        case 0xE0..<0xF0: 3
        case 0xF0..<0xF5: 4
        default: 0
        }
      var inner = index + 1
      while inner < min(index + width, end), text[inner] & 0xC0 == 0x80 { inner += 1 }
      isCuttable = width > 0 && inner == min(index + width, end)
      if isCuttable, index + width > end, index > start { body(index) }
      index += width
    }
    if !isCuttable, start + 1 < end { for place in start + 1..<end { body(place) } }
  }
}
