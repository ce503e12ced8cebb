/// Byte-pair merging: joins neighbours of lowest rank, leftmost first, until no pair is left to join.
///
/// Short pieces are searched directly; from `heapFrom` bytes on a heap keeps the cost at n log n.
struct BytePairMerger: Sendable {
  var pairs: PairTable
  /// Token of each byte, -1 where the vocabulary has none.
  var byteIDs: [Int32]
  /// Stands for bytes without a token; nil drops them, as Hugging Face tokenizers do.
  var unknownID: Int32?

  /// Where the heap begins to pay; measured on random letters.
  static let heapFrom = 96

  /// Memory that one encoding reuses for all its pieces.
  struct Scratch: ~Copyable {
    var ids: [Int32] = []
    var ranks: [Int32] = []
    var merged: [Int32] = []
    var next: [Int32] = []
    var previous: [Int32] = []
    var heap: RankHeap = RankHeap()
  }

  /// Leaves the merged ids of `text[start ..< end]` in `scratch.ids`.
  func merge(_ text: Span<UInt8>, _ start: Int, _ end: Int, _ scratch: inout Scratch) {
    scratch.ids.removeAll(keepingCapacity: true)
    var index = start
    while index < end {
      let id = byteIDs[Int(text[index])]
      if id >= 0 {
        scratch.ids.append(id)
      } else if let unknownID, scratch.ids.last != unknownID {
        scratch.ids.append(unknownID)
      }
      index &+= 1
    }
    if scratch.ids.count < Self.heapFrom {
      mergeShort(&scratch)
    } else {
      mergeLong(&scratch)
    }
  }

  private func mergeShort(_ scratch: inout Scratch) {
    if scratch.ids.count < 2 { return }
    scratch.ranks.removeAll(keepingCapacity: true)
    scratch.merged.removeAll(keepingCapacity: true)
    for index in 0..<scratch.ids.count - 1 {
      let pair = pairs.find(scratch.ids[index], scratch.ids[index + 1])
      scratch.ranks.append(pair.rank)
      scratch.merged.append(pair.id)
    }
    let count = joinShort(&scratch.ids, &scratch.ranks, &scratch.merged)
    scratch.ids.removeLast(scratch.ids.count - count)
  }

  /// Merges in place, moving what follows each merge down; the number of ids left.
  private func joinShort(
    _ idArray: inout [Int32], _ rankArray: inout [Int32], _ mergedArray: inout [Int32]
  ) -> Int {
    var count = idArray.count
    var ids = idArray.mutableSpan
    var ranks = rankArray.mutableSpan
    var merged = mergedArray.mutableSpan
    while count > 1 {
      var best = 0
      var bestRank = ranks[0]
      var index = 1
      while index < count &- 1 {
        if ranks[index] < bestRank {
          bestRank = ranks[index]
          best = index
        }
        index &+= 1
      }
      if bestRank == PairTable.noRank { break }
      ids[best] = merged[best]
      count &-= 1
      index = best &+ 1
      while index < count {
        ids[index] = ids[index &+ 1]
        if index < count &- 1 {
          ranks[index] = ranks[index &+ 1]
          merged[index] = merged[index &+ 1]
        }
        index &+= 1
      }
      if best < count &- 1 {
        let pair = pairs.find(ids[best], ids[best &+ 1])
        ranks[best] = pair.rank
        merged[best] = pair.id
      }
      if best > 0 {
        let pair = pairs.find(ids[best &- 1], ids[best])
        ranks[best &- 1] = pair.rank
        merged[best &- 1] = pair.id
      }
    }
    return count
  }

  /// A linked list of parts and a heap of (rank, position); an entry is stale if its rank changed.
  private func mergeLong(_ scratch: inout Scratch) {
    let count = scratch.ids.count
    scratch.ranks.removeAll(keepingCapacity: true)
    scratch.merged.removeAll(keepingCapacity: true)
    scratch.next.removeAll(keepingCapacity: true)
    scratch.previous.removeAll(keepingCapacity: true)
    scratch.heap.removeAll()
    for index in 0..<count {
      let pair =
        index + 1 < count
        ? pairs.find(scratch.ids[index], scratch.ids[index + 1]) : (rank: PairTable.noRank, id: -1)
      scratch.ranks.append(pair.rank)
      scratch.merged.append(pair.id)
      scratch.next.append(Int32(truncatingIfNeeded: index + 1))
      scratch.previous.append(Int32(truncatingIfNeeded: index - 1))
      if pair.rank != PairTable.noRank { scratch.heap.appendUnordered(pair.rank, index) }
    }
    scratch.heap.order()
    joinLong(
      &scratch.ids, &scratch.ranks, &scratch.merged, &scratch.next, &scratch.previous,
      &scratch.heap)
    scratch.ids.removeAll { $0 < 0 }
  }

  /// Merges along the list; an id that was joined to the one before it becomes -1.
  private func joinLong(
    _ idArray: inout [Int32], _ rankArray: inout [Int32], _ mergedArray: inout [Int32],
    _ nextArray: inout [Int32], _ previousArray: inout [Int32], _ heap: inout RankHeap
  ) {
    let count = idArray.count
    var ids = idArray.mutableSpan
    var ranks = rankArray.mutableSpan
    var merged = mergedArray.mutableSpan
    var next = nextArray.mutableSpan
    var previous = previousArray.mutableSpan
    while let (rank, position) = heap.pop() {
      if ranks[position] != rank { continue }
      ids[position] = merged[position]
      let dead = Int(next[position])
      let after = Int(next[dead])
      next[position] = Int32(truncatingIfNeeded: after)
      ranks[dead] = PairTable.noRank
      ids[dead] = -1
      ranks[position] = PairTable.noRank
      if after < count {
        previous[after] = Int32(truncatingIfNeeded: position)
        let pair = pairs.find(ids[position], ids[after])
        ranks[position] = pair.rank
        merged[position] = pair.id
        if pair.rank != PairTable.noRank { heap.push(pair.rank, position) }
      }
      let before = Int(previous[position])
      if before >= 0 {
        let pair = pairs.find(ids[before], ids[position])
        ranks[before] = pair.rank
        merged[before] = pair.id
        if pair.rank != PairTable.noRank { heap.push(pair.rank, before) }
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
