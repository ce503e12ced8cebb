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

  /// Where the heap begins to pay; measured on random letters. At most 128: a place has 7 bits.
  static let heapFrom = 96

  /// Memory that one encoding reuses for all its pieces.
  struct Scratch: ~Copyable {
    var ids: [Int32] = []
    /// Of each id with the next one: the rank, in short pieces with the place behind it.
    var joins: [Int32] = []
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
    let padded = (count + 7) & ~7
    while scratch.joins.count < padded { scratch.joins.append(PairTable.none) }
    while scratch.next.count < count { scratch.next.append(0) }
    while scratch.previous.count < count { scratch.previous.append(0) }
    let left = joinShort(&scratch.ids, &scratch.joins, &scratch.next, &scratch.previous)
    scratch.ids.removeLast(count - left)
  }

  /// Rank and place of two neighbours as one number, which the lowest and leftmost has lowest.
  @inline(__always)
  private func join(_ left: Int32, _ right: Int32, at place: Int) -> Int32 {
    let rank = pairs.rank(left, right)
    return rank == PairTable.none ? rank : rank &<< 7 | Int32(truncatingIfNeeded: place)
  }

  /// Merges along a list, the next pair found by looking at all, 8 at a time: few, and no branch to guess; then moves
  /// what is left together. The number of ids left.
  private func joinShort(
    _ idArray: inout [Int32], _ joinArray: inout [Int32], _ nextArray: inout [Int32],
    _ previousArray: inout [Int32]
  ) -> Int {
    let count = idArray.count
    let padded = (count &+ 7) & ~7
    var ids = idArray.mutableSpan
    var joins = joinArray.mutableSpan
    var next = nextArray.mutableSpan
    var previous = previousArray.mutableSpan
    var index = 0
    while index < count {
      joins[index] =
        index < count &- 1 ? join(ids[index], ids[index &+ 1], at: index) : PairTable.none
      next[index] = Int32(truncatingIfNeeded: index &+ 1)
      previous[index] = Int32(truncatingIfNeeded: index &- 1)
      index &+= 1
    }
    while index < padded {
      joins[index] = PairTable.none
      index &+= 1
    }
    var left = count
    while true {
      let lowest = Self.lowest(joins.span, padded)
      if lowest == PairTable.none { break }
      let best = Int(lowest & 127)
      let id = pairs.id(lowest &>> 7)
      let dead = Int(next[best])
      let after = Int(next[dead])
      ids[best] = id
      joins[dead] = PairTable.none
      next[best] = Int32(truncatingIfNeeded: after)
      left &-= 1
      if after < count {
        previous[after] = Int32(truncatingIfNeeded: best)
        joins[best] = join(id, ids[after], at: best)
      } else {
        joins[best] = PairTable.none
      }
      let before = Int(previous[best])
      if before >= 0 { joins[before] = join(ids[before], id, at: before) }
    }
    index = 0
    var place = 0
    while place < left {
      ids[place] = ids[index]
      index = Int(next[index])
      place &+= 1
    }
    return left
  }

  /// The lowest of the first `count`, a multiple of 8.
  @inline(__always)
  private static func lowest(_ joins: Span<Int32>, _ count: Int) -> Int32 {
    // Int32 has no padding, and any 32 bytes are 8 of them; the span checks that they are inside it.
    let bytes = unsafe joins.bytes
    var lowest = unsafe bytes.unsafeLoadUnaligned(as: SIMD8<Int32>.self)
    var offset = 32
    while offset < count &* 4 {
      let more = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: SIMD8<Int32>.self)
      lowest.replace(with: more, where: more .< lowest)
      offset &+= 32
    }
    let (a, b) = (lowest.lowHalf, lowest.highHalf)
    let four = a.replacing(with: b, where: b .< a)
    let two = min(four[0], four[1])
    return min(two, min(four[2], four[3]))
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
        ? pairs.rank(scratch.ids[index], scratch.ids[index + 1]) : PairTable.none
      scratch.joins.append(join)
      scratch.next.append(Int32(truncatingIfNeeded: index + 1))
      scratch.previous.append(Int32(truncatingIfNeeded: index - 1))
      if join != PairTable.none { scratch.heap.appendUnordered(join, index) }
    }
    scratch.heap.order()
    joinLong(
      &scratch.ids, &scratch.joins, &scratch.next, &scratch.previous, &scratch.heap)
    scratch.ids.removeAll { $0 < 0 }
  }

  /// Merges along the list; an id that was joined to the one before it becomes -1.
  private func joinLong(
    _ idArray: inout [Int32], _ joinArray: inout [Int32], _ nextArray: inout [Int32],
    _ previousArray: inout [Int32], _ heap: inout RankHeap
  ) {
    let count = idArray.count
    var ids = idArray.mutableSpan
    var joins = joinArray.mutableSpan
    var next = nextArray.mutableSpan
    var previous = previousArray.mutableSpan
    while let (rank, position) = heap.pop() {
      if joins[position] != rank { continue }
      ids[position] = pairs.id(rank)
      let dead = Int(next[position])
      let after = Int(next[dead])
      next[position] = Int32(truncatingIfNeeded: after)
      joins[dead] = PairTable.none
      ids[dead] = -1
      joins[position] = PairTable.none
      if after < count {
        previous[after] = Int32(truncatingIfNeeded: position)
        joins[position] = pairs.rank(ids[position], ids[after])
        if joins[position] != PairTable.none { heap.push(joins[position], position) }
      }
      let before = Int(previous[position])
      if before >= 0 {
        joins[before] = pairs.rank(ids[before], ids[position])
        if joins[before] != PairTable.none { heap.push(joins[before], before) }
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
