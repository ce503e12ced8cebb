internal import CQwenKernels

/// Sizes that decide how a cache lies in memory.
package struct KVShape: Sendable, Equatable {
  package let layers: Int
  package let heads: Int
  package let headDim: Int
  package let element: Element

  package init(layers: Int, heads: Int, headDim: Int, element: Element) {
    self.layers = layers
    self.heads = heads
    self.headDim = headDim
    self.element = element
    runBytes = unsafe element.kernels.bytes(headDim)
  }

  /// Positions in one page.
  package static let pagePositions = 64
  /// Positions whose keys lie side by side.
  static let keyPositions = 16

  /// Bytes of the keys, or of the values, of one head in one page.
  let runBytes: Int
  /// Bytes of one page: [layer][head][key | value], each as its element lies.
  package var pageBytes: Int { layers * heads * 2 * runBytes }
}

/// Keys and values of one sequence in pages of 64 positions, aligned to absolute positions.
///
/// Pages are counted references: dropping positions frees whole pages. One thread changes it at a time.
@safe
package final class KVCache: @unchecked Sendable {
  package let shape: KVShape
  /// Positions the cache may grow to.
  package let capacity: Int
  /// Positions that hold evaluated tokens.
  package private(set) var length = 0

  private var pages: [Buffer] = []
  private let table: Buffer

  /// An empty cache; only the table of pages is allocated.
  package init(shape: KVShape, capacity: Int) throws(TensorError) {
    self.shape = shape
    self.capacity = capacity
    let count = (capacity + KVShape.pagePositions - 1) / KVShape.pagePositions
    table = try Buffer(byteCount: max(1, count) * MemoryLayout<UInt>.stride)
  }

  /// Bytes held by pages now.
  package var byteCount: Int { pages.count * shape.pageBytes }

  /// Makes room for positions up to `positions`, and pages that others hold too the cache's own where they are
  /// about to be written. Throws if the capacity or the memory ends.
  package func reserve(_ positions: Int) throws(TensorError) {
    guard positions <= capacity else {
      throw .shape("\(positions) positions in a context of \(capacity)")
    }
    let entries = unsafe table.address.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    for index in min(length / KVShape.pagePositions, pages.count)..<pages.count
    where !isKnownUniquelyReferenced(&pages[index]) {
      let copy = try Buffer(byteCount: shape.pageBytes)
      unsafe copy.address.copyMemory(from: pages[index].address, byteCount: shape.pageBytes)
      pages[index] = copy
      unsafe entries[index] = copy.address
    }
    while pages.count * KVShape.pagePositions < positions {
      let page = try Buffer(byteCount: shape.pageBytes)
      unsafe (entries + pages.count).initialize(to: page.address)
      pages.append(page)
    }
  }

  /// Counts positions up to `positions` as evaluated; room for them was reserved.
  package func commit(_ positions: Int) {
    length = min(positions, pages.count * KVShape.pagePositions)
  }

  /// Forgets the positions from `positions` on and frees pages that hold none.
  package func truncate(_ positions: Int) {
    length = max(0, min(length, positions))
    let kept = (length + KVShape.pagePositions - 1) / KVShape.pagePositions
    if pages.count > kept { pages.removeLast(pages.count - kept) }
  }

  /// Keys of one head in page `page`; the values follow `shape.runBytes` behind.
  @unsafe func keys(page: Int, layer: Int, head: Int) -> UnsafeMutableRawPointer {
    let entries = unsafe table.address.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    return unsafe entries[page] + (layer * shape.heads + head) * 2 * shape.runBytes
  }
}

/// The pages of a cache at one moment: whoever holds it keeps them as they are, the cache writes to copies.
package struct KVSnapshot: Sendable {
  fileprivate let pages: [Buffer]
  /// Positions that hold evaluated tokens.
  package let length: Int
}

/// One page of positions, shared and never written again.
package struct KVPage: Sendable {
  fileprivate let buffer: Buffer
  package var byteCount: Int { buffer.byteCount }
}

extension KVSnapshot {
  /// Page `index`; nil if there is none.
  package func page(_ index: Int) -> KVPage? {
    pages.indices.contains(index) ? KVPage(buffer: pages[index]) : nil
  }
}

extension KVCache {
  /// Puts full pages of a cache of the same shape in the place of its own from page `first` on; the cache then ends
  /// with the last of them. Throws if they do not fit the capacity.
  package func replace(from first: Int, with full: [KVPage]) throws(TensorError) {
    let kept = pages.prefix(max(0, first))
    try restore(
      KVSnapshot(
        pages: kept + full.map(\.buffer),
        length: (kept.count + full.count) * KVShape.pagePositions))
  }

  /// What the cache holds now; nothing is copied.
  package var snapshot: KVSnapshot {
    let kept = (length + KVShape.pagePositions - 1) / KVShape.pagePositions
    return KVSnapshot(pages: Array(pages.prefix(kept)), length: length)
  }

  /// Takes the place of what the cache held; nothing is copied. The snapshot is of a cache of the same shape.
  /// Throws if it does not fit the capacity.
  package func restore(_ snapshot: KVSnapshot) throws(TensorError) {
    guard snapshot.length <= capacity else {
      throw .shape("\(snapshot.length) positions in a context of \(capacity)")
    }
    let entries = unsafe table.address.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
    pages = snapshot.pages
    for (index, page) in pages.enumerated() {
      unsafe (entries + index).initialize(to: page.address)
    }
    length = snapshot.length
  }
}

/// Keys and values as bytes, for a session that is saved: rows of positions, nothing of those that were forgotten.
extension KVCache {
  /// Bytes that `forEachRun` hands on for so many positions.
  package static func runBytes(_ shape: KVShape, positions: Int) -> Int? {
    let perPosition = shape.layers * shape.heads * 2 * shape.runBytes / KVShape.pagePositions
    let (bytes, overflow) = perPosition.multipliedReportingOverflow(by: positions)
    return overflow ? nil : bytes
  }

  /// Hands on the bytes of all positions: page by page, layer by layer, head by head, keys, then values.
  package func forEachRun<E: Error>(
    _ body: (UnsafeRawBufferPointer) throws(E) -> Void
  ) throws(E) {
    try unsafe forEachRun(of: length, isFilling: false) { (run) throws(E) in
      try unsafe body(UnsafeRawBufferPointer(run))
    }
  }

  /// Fills an empty cache with `positions` positions whose bytes `body` writes, in the order of `forEachRun`.
  package func fill(
    positions: Int, _ body: (UnsafeMutableRawBufferPointer) throws(TensorError) -> Void
  ) throws(TensorError) {
    try reserve(positions)
    try unsafe forEachRun(of: positions, isFilling: true, body)
    commit(positions)
  }

  private func forEachRun<E: Error>(
    of positions: Int, isFilling: Bool, _ body: (UnsafeMutableRawBufferPointer) throws(E) -> Void
  ) throws(E) {
    let rows = UnsafeMutableRawBufferPointer.allocate(byteCount: shape.runBytes, alignment: 64)
    defer { unsafe rows.deallocate() }
    let units = shape.element.units(dim: shape.headDim)
    var first = 0
    while first < positions {
      let count = min(KVShape.pagePositions, positions - first)
      for layer in 0..<shape.layers {
        for head in 0..<shape.heads {
          let run = unsafe keys(page: first / KVShape.pagePositions, layer: layer, head: head)
          var part = unsafe run
          for unit in [units.scales, units.rest] where unit.count > 0 {
            let bytes = count * unit.rowBytes
            let (side, size, each) = (unit.positions, unit.bytes, unit.count)
            if !isFilling {
              unsafe qk_kv_gather_rows(part, side, size, each, count, rows.baseAddress)
            }
            try unsafe body(UnsafeMutableRawBufferPointer(rebasing: rows[..<bytes]))
            if isFilling {
              unsafe qk_kv_scatter_rows(rows.baseAddress, side, size, each, count, part)
            }
            unsafe part += KVShape.pagePositions * unit.rowBytes
          }
          var values = unsafe run + shape.runBytes
          for unit in [units.scales, units.rest] where unit.count > 0 {
            try unsafe body(
              UnsafeMutableRawBufferPointer(start: values, count: count * unit.rowBytes))
            unsafe values += KVShape.pagePositions * unit.rowBytes
          }
        }
      }
      first += count
    }
  }
}
