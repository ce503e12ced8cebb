/// Sizes that decide how a cache lies in memory.
package struct KVShape: Sendable, Equatable {
  /// How one number is stored: half precision, or float for exact comparison.
  package enum Element: String, Sendable, CaseIterable {
    case f16, f32
    package var bytes: Int { self == .f16 ? 2 : 4 }
  }

  package let layers: Int
  package let heads: Int
  package let headDim: Int
  package let element: Element

  package init(layers: Int, heads: Int, headDim: Int, element: Element) {
    self.layers = layers
    self.heads = heads
    self.headDim = headDim
    self.element = element
  }

  /// Positions in one page.
  package static let pagePositions = 64

  /// Bytes of the keys, or of the values, of one head in one page.
  var runBytes: Int { Self.pagePositions * headDim * element.bytes }
  /// Bytes of one page: [layer][head][key | value][position][dim].
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

  /// Makes room for positions up to `positions`. Throws if the capacity or the memory ends.
  package func reserve(_ positions: Int) throws(TensorError) {
    guard positions <= capacity else {
      throw .shape("\(positions) positions in a context of \(capacity)")
    }
    let entries = unsafe table.address.assumingMemoryBound(to: UnsafeMutableRawPointer.self)
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
