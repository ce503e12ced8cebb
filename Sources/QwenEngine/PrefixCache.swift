internal import QwenFormats
internal import QwenModel
internal import QwenTensor
internal import Synchronization

/// Full pages of keys and values that conversations of one model left behind, for others that begin with the same
/// tokens. Bounded; the pages used longest ago go first. Any thread.
///
/// Pages are shared, never copied, and equal to the bit to those a conversation would have computed itself.
final class PrefixCache: Sendable {
  /// One page: it stands for its tokens behind those of its parent.
  private struct Entry {
    let parent: UInt64
    let tokens: ArraySlice<Int32>
    let page: KVPage
    var lastUse: Int
  }

  private struct State {
    var entries: [UInt64: Entry] = [:]
    var bytes = 0
    var clock = 0
  }

  /// Most bytes of pages.
  let limit: Int
  private let state = Mutex(State())

  init(limit: Int) { self.limit = limit }

  /// Bytes and number of pages held now.
  var usage: (bytes: Int, pages: Int) { state.withLock { ($0.bytes, $0.entries.count) } }

  /// Adds the full pages of a conversation; `root` tells conversations apart whose pages can't be shared.
  func add(_ tokens: [Int32], _ snapshot: KVSnapshot, root: UInt64) {
    let size = KVShape.pagePositions
    state.withLock { state in
      state.clock += 1
      var parent = root
      for index in 0..<min(tokens.count, snapshot.length) / size {
        let part = tokens[index * size..<(index + 1) * size]
        let key = PrefixCache.key(parent, part)
        if let entry = state.entries[key] {
          // Two texts with the same digest: the first one stays.
          guard entry.parent == parent, entry.tokens == part else { return }
          state.entries[key]?.lastUse = state.clock
        } else {
          guard let page = snapshot.page(index), page.byteCount <= limit else { return }
          state.bytes += page.byteCount
          state.entries[key] = Entry(
            parent: parent, tokens: ArraySlice(Array(part)), page: page, lastUse: state.clock)
        }
        parent = key
      }
      while state.bytes > limit,
        let oldest = state.entries.min(by: {
          ($0.value.lastUse, $1.key) < ($1.value.lastUse, $0.key)
        })
      {
        state.bytes -= oldest.value.page.byteCount
        state.entries[oldest.key] = nil
      }
    }
  }

  /// The pages held for the beginning of `tokens`, from page `first` on; those before it must be `tokens`' own.
  func pages(_ tokens: ArraySlice<Int32>, from first: Int, root: UInt64) -> [KVPage] {
    let size = KVShape.pagePositions
    return state.withLock { state in
      state.clock += 1
      var parent = root
      var found: [KVPage] = []
      for index in 0..<tokens.count / size {
        let start = tokens.startIndex + index * size
        let part = tokens[start..<start + size]
        let key = PrefixCache.key(parent, part)
        parent = key
        if index < first { continue }
        guard let entry = state.entries[key], entry.tokens == part else { break }
        state.entries[key]?.lastUse = state.clock
        found.append(entry.page)
      }
      return found
    }
  }

  private static func key(_ parent: UInt64, _ tokens: ArraySlice<Int32>) -> UInt64 {
    var digest = Digest()
    digest.add([Int(bitPattern: UInt(truncatingIfNeeded: parent))])
    digest.add(tokens.lazy.map { Int($0) })
    return digest.value.0
  }
}

extension Conversation {
  /// What must be equal for pages to be shared: storage, angles, windows.
  private var prefixRoot: UInt64? {
    guard let plan = sequence.plan else { return nil }
    var digest = Digest()
    digest.add(settings.element.rawValue)
    digest.add(settings.configuration)
    digest.add("\(plan.alpha)")
    return digest.value.0
  }

  /// Takes over pages of `prompt` that lie in the cache, behind the `tokens` it shares with it already; the angles
  /// are fixed. At least one token of the prompt stays to be evaluated.
  func adopt(_ prompt: [Int32], from cache: PrefixCache) throws(EngineError) {
    let size = KVShape.pagePositions
    guard let root = prefixRoot else { return }
    let own = tokens.count / size
    let found = cache.pages(prompt[..<(prompt.count - 1)], from: own, root: root)
    guard (own + found.count) * size > tokens.count else { return }
    do {
      try sequence.cache.replace(from: own, with: found)
    } catch { throw EngineError(error) }
    replaceTokens(prompt[..<((own + found.count) * size)])
  }

  /// Leaves its full pages to others.
  func leave(to cache: PrefixCache) {
    guard let root = prefixRoot else { return }
    cache.add(tokens, sequence.cache.snapshot, root: root)
  }
}
