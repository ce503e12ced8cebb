private import Synchronization

/// The members of a JSON object in their order, found by name in constant time.
///
/// Names are compared byte by byte, as JSON does, not by Unicode equivalence. A large object makes its
/// index at the first look-up; from any thread.
package struct JSONObject: Sendable {
  package typealias Entry = (key: String, value: JSONValue)

  /// The members in order. No name occurs twice.
  package private(set) var entries: [Entry]
  /// Name to position for objects of more than `scanLimit` members.
  private var index = KeyIndex()

  /// Up to here a scan beats hashing.
  private static let scanLimit = 8

  /// The members given; where a name comes again, its last value counts, at its first place.
  package init(_ members: [(String, JSONValue)] = []) {
    entries = []
    entries.reserveCapacity(members.count)
    for (key, value) in members { self[key] = value }
  }

  /// Members whose names are known to differ.
  init(unique entries: [Entry]) { self.entries = entries }

  /// Number of members.
  package var count: Int { entries.count }
  /// Whether there are no members.
  package var isEmpty: Bool { entries.isEmpty }
  /// The names in order.
  package var keys: [String] { entries.map(\.key) }

  /// The value of that name; setting nil removes the member (O(n)), a new name goes to the end.
  package subscript(key: String) -> JSONValue? {
    get { position(of: key).map { entries[$0].value } }
    set {
      switch (position(of: key), newValue) {
      case (let position?, let value?): entries[position].value = value
      case (nil, let value?): append(key, value)
      case (let position?, nil):
        entries.remove(at: position)
        index = KeyIndex()
      case (nil, nil): break
      }
    }
  }

  private func position(of key: String) -> Int? {
    let wanted = ExactKey(key)
    if entries.count <= JSONObject.scanLimit {
      return entries.firstIndex { ExactKey($0.key) == wanted }
    }
    return index.position(of: wanted, in: entries)
  }

  private mutating func append(_ key: String, _ value: JSONValue) {
    // A shared index belongs to another value as well, which must not see the new name.
    if !isKnownUniquelyReferenced(&index) { index = KeyIndex() }
    index.added(ExactKey(key), at: entries.count)
    entries.append((key, value))
  }
}

extension JSONObject: Equatable {
  /// Same names with the same values, in any order.
  package static func == (left: JSONObject, right: JSONObject) -> Bool {
    left.count == right.count && left.entries.allSatisfy { right[$0.key] == $0.value }
  }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
  package init(dictionaryLiteral elements: (String, JSONValue)...) { self.init(elements) }
}

/// Name to position, made at the first question.
private final class KeyIndex: Sendable {
  private let positions = Mutex<[ExactKey: Int]?>(nil)

  func position(of key: ExactKey, in entries: [JSONObject.Entry]) -> Int? {
    positions.withLock { positions in
      if let positions { return positions[key] }
      var made = [ExactKey: Int](minimumCapacity: entries.count)
      for (position, entry) in entries.enumerated() { made[ExactKey(entry.key)] = position }
      positions = made
      return made[key]
    }
  }

  /// Tells an index that is already made of one more name.
  func added(_ key: ExactKey, at position: Int) {
    positions.withLock { $0?[key] = position }
  }
}

/// A string that equals only strings of the same bytes.
private struct ExactKey: Hashable {
  private let text: String

  init(_ text: String) { self.text = text }

  static func == (left: ExactKey, right: ExactKey) -> Bool {
    left.text.utf8.count == right.text.utf8.count && left.text.utf8.elementsEqual(right.text.utf8)
  }

  func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
