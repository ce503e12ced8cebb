/// Byte-pair merging: joins neighbours of lowest rank, leftmost first, until no pair is left to join.
///
/// Short pieces are searched directly; from `heapFrom` bytes on a heap keeps the cost at n log n.
struct BytePairMerger: Sendable {
  var pairs: PairTable
  /// Token of each byte, -1 where the vocabulary has none.
  var byteIDs: [Int32]
  /// Stands for bytes without a token; nil drops them, as Hugging Face tokenizers do.
  var unknownID: Int32?
  /// Lets well-formed text begin from characters.
  var characters: CharacterTable? = nil

  /// Where the heap begins to pay; measured on random letters.
  static let heapFrom = 96

  /// Memory that one encoding reuses for all its pieces.
  struct Scratch: ~Copyable {
    var ids: [Int32] = []
    /// Of each id with the next one.
    var joins: [Join] = []
    var next: [Int32] = []
    var previous: [Int32] = []
    var heap: RankHeap = RankHeap()
  }

  /// Leaves the merged ids of `text[start ..< end]` in `scratch.ids`.
  func merge(_ text: Span<UInt8>, _ start: Int, _ end: Int, _ scratch: inout Scratch) {
    scratch.ids.removeAll(keepingCapacity: true)
    if let characters {
      begin(text, start, end, characters, &scratch.ids)
    } else {
      begin(text, start, end, &scratch.ids)
    }
    if scratch.ids.count < Self.heapFrom {
      mergeShort(&scratch)
    } else {
      mergeLong(&scratch)
    }
  }

  /// Appends the token of each byte.
  @inline(__always)
  private func begin(_ text: Span<UInt8>, _ start: Int, _ end: Int, _ ids: inout [Int32]) {
    var index = start
    while index < end {
      let id = byteIDs[Int(text[index])]
      if id >= 0 {
        ids.append(id)
      } else if let unknownID, ids.last != unknownID {
        ids.append(unknownID)
      }
      index &+= 1
    }
  }

  /// Appends the token of each character that merges by itself, and those of the bytes of the others.
  private func begin(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, _ characters: CharacterTable,
    _ ids: inout [Int32]
  ) {
    var index = start
    var isCrossed = false
    while index < end {
      let (point, width) = UTF8Text.scalar(text, index)
      let next = index &+ width
      let crossesNext = next < end && characters.isCrossed(text[next &- 1], text[next])
      var id: Int32 = -1
      if width &- 2 < 2, width > 1, !isCrossed, !crossesNext { id = characters.id(point) }
      if id >= 0 {
        ids.append(id)
      } else {
        begin(text, index, next, &ids)
      }
      isCrossed = crossesNext
      index = next
    }
  }

  private func mergeShort(_ scratch: inout Scratch) {
    let count = scratch.ids.count
    if count < 2 { return }
    while scratch.joins.count < count { scratch.joins.append(PairTable.none) }
    let left = joinShort(&scratch.ids, &scratch.joins)
    scratch.ids.removeLast(count - left)
  }

  /// Merges in place, moving what follows each merge down; the number of ids left.
  private func joinShort(_ idArray: inout [Int32], _ joinArray: inout [Join]) -> Int {
    var count = idArray.count
    var ids = idArray.mutableSpan
    var joins = joinArray.mutableSpan
    var index = 0
    while index < count &- 1 {
      joins[index] = pairs.find(ids[index], ids[index &+ 1])
      index &+= 1
    }
    while count > 1 {
      // First the number, without a branch to guess, then its place.
      var lowest = joins[0]
      index = 1
      while index < count &- 1 {
        lowest = min(lowest, joins[index])
        index &+= 1
      }
      if lowest == PairTable.none { break }
      var best = 0
      while joins[best] != lowest { best &+= 1 }
      ids[best] = lowest.id
      count &-= 1
      index = best &+ 1
      while index < count {
        ids[index] = ids[index &+ 1]
        joins[index] = joins[index &+ 1]
        index &+= 1
      }
      if best < count &- 1 { joins[best] = pairs.find(ids[best], ids[best &+ 1]) }
      if best > 0 { joins[best &- 1] = pairs.find(ids[best &- 1], ids[best]) }
    }
    return count
  }

  /// A linked list of parts and a heap of (rank, position); an entry is stale if its rank changed.
  private func mergeLong(_ scratch: inout Scratch) {
    let count = scratch.ids.count
    scratch.joins.removeAll(keepingCapacity: true)
    scratch.next.removeAll(keepingCapacity: true)
    scratch.previous.removeAll(keepingCapacity: true)
    scratch.heap.removeAll()
    for index in 0..<count {
      let join =
        index + 1 < count
        ? pairs.find(scratch.ids[index], scratch.ids[index + 1]) : PairTable.none
      scratch.joins.append(join)
      scratch.next.append(Int32(truncatingIfNeeded: index + 1))
      scratch.previous.append(Int32(truncatingIfNeeded: index - 1))
      if join != PairTable.none { scratch.heap.appendUnordered(join.rank, index) }
    }
    scratch.heap.order()
    joinLong(
      &scratch.ids, &scratch.joins, &scratch.next, &scratch.previous, &scratch.heap)
    scratch.ids.removeAll { $0 < 0 }
  }

  /// Merges along the list; an id that was joined to the one before it becomes -1.
  private func joinLong(
    _ idArray: inout [Int32], _ joinArray: inout [Join], _ nextArray: inout [Int32],
    _ previousArray: inout [Int32], _ heap: inout RankHeap
  ) {
    let count = idArray.count
    var ids = idArray.mutableSpan
    var joins = joinArray.mutableSpan
    var next = nextArray.mutableSpan
    var previous = previousArray.mutableSpan
    while let (rank, position) = heap.pop() {
      if joins[position].rank != rank { continue }
      ids[position] = joins[position].id
      let dead = Int(next[position])
      let after = Int(next[dead])
      next[position] = Int32(truncatingIfNeeded: after)
      joins[dead] = PairTable.none
      ids[dead] = -1
      joins[position] = PairTable.none
      if after < count {
        previous[after] = Int32(truncatingIfNeeded: position)
        joins[position] = pairs.find(ids[position], ids[after])
        if joins[position] != PairTable.none { heap.push(joins[position].rank, position) }
      }
      let before = Int(previous[position])
      if before >= 0 {
        joins[before] = pairs.find(ids[before], ids[position])
        if joins[before] != PairTable.none { heap.push(joins[before].rank, before) }
      }
    }
  }
}

/// A binary heap of (rank, position), lowest rank first, then leftmost.
struct RankHeap: Sendable {
  private var entries: [UInt64] = []

  mutating func removeAll() { entries.removeAll(keepingCapacity: true) }

  @inline(__always)
  private static func entry(_ rank: Int32, _ position: Int) -> UInt64 {
    UInt64(UInt32(bitPattern: rank)) &<< 32 | UInt64(truncatingIfNeeded: position)
  }

  /// Adds an entry before `order` is called.
  mutating func appendUnordered(_ rank: Int32, _ position: Int) {
    entries.append(Self.entry(rank, position))
  }

  /// Makes a heap of what was appended, in linear time.
  mutating func order() {
    var index = entries.count / 2
    while index > 0 {
      index -= 1
      sink(index)
    }
  }

  mutating func push(_ rank: Int32, _ position: Int) {
    let entry = Self.entry(rank, position)
    entries.append(entry)
    var index = entries.count - 1
    while index > 0 {
      let parent = (index - 1) / 2
      if entries[parent] <= entry { break }
      entries[index] = entries[parent]
      index = parent
    }
    entries[index] = entry
  }

  mutating func pop() -> (rank: Int32, position: Int)? {
    guard let last = entries.popLast() else { return nil }
    var top = last
    if !entries.isEmpty {
      top = entries[0]
      entries[0] = last
      sink(0)
    }
    return (Int32(truncatingIfNeeded: top &>> 32), Int(top & 0xFFFF_FFFF))
  }

  private mutating func sink(_ start: Int) {
    let count = entries.count
    let entry = entries[start]
    var index = start
    while true {
      var child = index * 2 + 1
      if child >= count { break }
      if child + 1 < count, entries[child + 1] < entries[child] { child += 1 }
      if entries[child] >= entry { break }
      entries[index] = entries[child]
      index = child
    }
    entries[index] = entry
  }
}
