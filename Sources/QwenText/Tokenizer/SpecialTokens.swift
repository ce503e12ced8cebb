/// The texts that may stand for one id each, and the search for them in a text.
///
/// A byte trie in flat arrays; the cost is linear, times the length of the longest text at worst.
struct SpecialTokens: Sendable {
  /// One special text.
  struct Entry: Sendable {
    var text: String
    var id: Int32
    var isControl: Bool
  }

  /// By id, ascending.
  let entries: [Entry]
  private let nodes: [Node]
  private let starts: [Bool]

  private struct Node: Sendable {
    var byte: UInt8
    var firstChild: Int32 = -1
    var nextSibling: Int32 = -1
    /// Index into `entries`, -1 where no text ends.
    var entry: Int32 = -1
  }

  /// Entries with an empty text are left out; of two with one text the later counts.
  init(_ entries: [Entry]) {
    let entries = entries.filter { !$0.text.isEmpty }.sorted { $0.id < $1.id }
    var nodes = [Node(byte: 0)]
    var starts = [Bool](repeating: false, count: 256)
    for (number, entry) in entries.enumerated() {
      var node = 0
      for (depth, byte) in entry.text.utf8.enumerated() {
        if depth == 0 { starts[Int(byte)] = true }
        var child = nodes[node].firstChild
        while child >= 0, nodes[Int(child)].byte != byte { child = nodes[Int(child)].nextSibling }
        if child < 0 {
          child = Int32(nodes.count)
          nodes.append(Node(byte: byte, nextSibling: nodes[node].firstChild))
          nodes[node].firstChild = child
        }
        node = Int(child)
      }
      nodes[node].entry = Int32(number)
    }
    self.entries = entries
    self.nodes = nodes
    self.starts = starts
  }

  /// Which entries a policy means; nil for none at all.
  func mask(_ policy: Tokenizer.SpecialPolicy) -> [Bool]? {
    switch policy {
    case .none: nil
    case .all: entries.isEmpty ? nil : Array(repeating: true, count: entries.count)
    case .only(let texts):
      texts.isEmpty ? nil : maskOf(Set(texts))
    }
  }

  private func maskOf(_ texts: Set<String>) -> [Bool]? {
    // Swift compares by canonical equivalence; special texts are compared by bytes.
    let wanted = Set(texts.map { Array($0.utf8) })
    return entries.map { wanted.contains(Array($0.text.utf8)) }
  }

  /// The first allowed text at or after `index`, the longest one there.
  func find(
    _ text: Span<UInt8>, _ index: Int, _ end: Int, _ allowed: [Bool]
  ) -> (start: Int, end: Int, entry: Int)? {
    var index = index
    while index < end {
      if starts[Int(text[index])], let match = longest(text, index, end, allowed) {
        return (index, match.end, match.entry)
      }
      index &+= 1
    }
    return nil
  }

  private func longest(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, _ allowed: [Bool]
  ) -> (end: Int, entry: Int)? {
    var node = 0
    var index = start
    var found: (end: Int, entry: Int)? = nil
    while index < end {
      let byte = text[index]
      var child = nodes[node].firstChild
      while child >= 0, nodes[Int(child)].byte != byte { child = nodes[Int(child)].nextSibling }
      if child < 0 { break }
      node = Int(child)
      index &+= 1
      let entry = Int(nodes[node].entry)
      if entry >= 0, allowed[entry] { found = (index, entry) }
    }
    return found
  }

  /// The entry with exactly these bytes.
  func entry(_ text: Span<UInt8>) -> Entry? {
    let all = [Bool](repeating: true, count: entries.count)
    guard text.count > 0, let match = longest(text, 0, text.count, all), match.end == text.count
    else { return nil }
    return entries[match.entry]
  }
}
