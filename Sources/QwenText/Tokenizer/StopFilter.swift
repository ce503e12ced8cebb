/// Cuts a stream of text at the first stop string and holds back only what may become one.
///
/// The match that ends first counts; of several that end together, the longest. How the text is cut into
/// pieces changes nothing. Linear in the text, times the number of stop strings.
package struct StopFilter: Sendable {
  /// One stop string with its Knuth-Morris-Pratt table, and how much of it the text ends with.
  private struct Stop: Sendable {
    let index: Int
    let bytes: [UInt8]
    let fallback: [Int]
    var matched = 0

    init(index: Int, bytes: [UInt8]) {
      self.index = index
      self.bytes = bytes
      var fallback = [0]
      var length = 0
      for position in bytes.indices.dropFirst() {
        while length > 0, bytes[position] != bytes[length] { length = fallback[length - 1] }
        if bytes[position] == bytes[length] { length += 1 }
        fallback.append(length)
      }
      self.fallback = fallback
    }

    /// Reads one byte; true if the stop string is complete.
    mutating func read(_ byte: UInt8) -> Bool {
      while matched > 0, bytes[matched] != byte { matched = fallback[matched - 1] }
      if bytes[matched] == byte { matched += 1 }
      return matched == bytes.count
    }
  }

  private var stops: [Stop]
  private var held: [UInt8] = []
  private var hit: Int?

  /// Empty stop strings are ignored, and keep their number.
  package init(stops: [String]) {
    self.stops = stops.enumerated().compactMap { index, text in
      text.isEmpty ? nil : Stop(index: index, bytes: Array(text.utf8))
    }
  }

  /// Number of the stop string that was found, in the order given.
  package var matched: Int? { hit }

  /// Text that is certain to precede any stop string, and the stop string if one is complete.
  ///
  /// After a match nothing more is emitted, and what follows is ignored.
  package mutating func push(_ text: String) -> (emit: String, matched: Int?) {
    if let hit { return ("", hit) }
    if stops.isEmpty { return (text, nil) }
    for byte in text.utf8 {
      held.append(byte)
      var (longest, length) = (0, 0)
      for index in stops.indices where stops[index].read(byte) {
        if stops[index].bytes.count > length {
          (longest, length) = (index, stops[index].bytes.count)
        }
      }
      if length > 0 {
        hit = stops[longest].index
        let emit = String(decoding: held.dropLast(length), as: UTF8.self)
        held = []
        return (emit, hit)
      }
    }
    var keep = 0
    for index in stops.indices { keep = max(keep, stops[index].matched) }
    let emit = String(decoding: held.dropLast(keep), as: UTF8.self)
    held.removeFirst(held.count - keep)
    return (emit, nil)
  }

  /// What was held back, since no stop string can follow; "" after a match.
  package mutating func finish() -> String {
    let rest = String(decoding: held, as: UTF8.self)
    held = []
    for index in stops.indices { stops[index].matched = 0 }
    return rest
  }
}
