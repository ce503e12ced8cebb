internal import Synchronization

extension Tokenizer {
  /// The ids of a text; nothing is added before or after.
  ///
  /// `special` texts become their id, the longest at the leftmost place; other control text is ordinary.
  /// `disallowed` ones, less those `special` allows, throw `disallowedSpecial`. Linear in the text.
  package func encode(
    _ text: String, special: SpecialPolicy = .none, disallowed: SpecialPolicy = .none
  ) throws(TokenizerError) -> [Int32] {
    try encode(Array(text.utf8), special: special, disallowed: disallowed)
  }

  /// As above for bytes, which must be UTF-8.
  package func encode(
    _ bytes: [UInt8], special: SpecialPolicy = .none, disallowed: SpecialPolicy = .none
  ) throws(TokenizerError) -> [Int32] {
    try encode(bytes.span, special: special, disallowed: disallowed)
  }

  /// As above; `text` must be UTF-8, else `invalidUTF8`.
  package func encode(
    _ text: Span<UInt8>, special: SpecialPolicy = .none, disallowed: SpecialPolicy = .none
  ) throws(TokenizerError) -> [Int32] {
    guard text.count <= Self.byteLimit else {
      throw .textTooLong(byteCount: text.count, limit: Self.byteLimit)
    }
    let unstable = try UTF8Text.validate(text, classes)
    var ids: [Int32] = []
    ids.reserveCapacity(text.count / 4 + 8)
    if unstable != nil, normalizer == .wholeText {
      let composed = Normalization.shared.composed(text, 0, text.count, classes)
      try encode(
        valid: composed.span, isNormal: true, special: special, disallowed: disallowed, into: &ids)
    } else {
      let isNormal = unstable == nil || normalizer == .none
      try encode(
        valid: text, isNormal: isNormal, special: special, disallowed: disallowed, into: &ids)
    }
    return ids
  }

  /// The ids of a text in which no control text is recognised.
  package func encodeOrdinary(_ text: String) throws(TokenizerError) -> [Int32] {
    try encode(text, special: .none, disallowed: .none)
  }

  /// Splits valid text at special texts and encodes what lies between.
  private func encode(
    valid text: Span<UInt8>, isNormal: Bool, special: SpecialPolicy, disallowed: SpecialPolicy,
    into ids: inout [Int32]
  ) throws(TokenizerError) {
    let allowed = specialTokens.mask(special)
    if var forbidden = specialTokens.mask(disallowed) {
      if let allowed {
        for index in forbidden.indices where allowed[index] { forbidden[index] = false }
      }
      if let hit = specialTokens.find(text, 0, text.count, forbidden) {
        throw .disallowedSpecial(text: specialTokens.entries[hit.entry].text, offset: hit.start)
      }
    }
    var scratch = Scratch(
      cache: idleCaches.withLock { $0.popLast() } ?? PieceCache(tokens: tokens.count))
    var index = 0
    if let allowed {
      while let hit = specialTokens.find(text, index, text.count, allowed) {
        stretch(text, index, hit.start, isNormal: isNormal, into: &ids, &scratch)
        ids.append(specialTokens.entries[hit.entry].id)
        index = hit.end
      }
    }
    stretch(text, index, text.count, isNormal: isNormal, into: &ids, &scratch)
    let cache = scratch.cache
    idleCaches.withLock { idle in
      if idle.count < Self.idleCacheLimit { idle.append(cache) }
    }
  }

  private static let idleCacheLimit = 8

  /// What encoding one text changes.
  private struct Scratch: ~Copyable {
    var merger = BytePairMerger.Scratch()
    var cache: PieceCache
  }

  private func stretch(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, isNormal: Bool, into ids: inout [Int32],
    _ scratch: inout Scratch
  ) {
    if isNormal {
      pieces(of: text, start, end, into: &ids, &scratch)
    } else {
      let composed = Normalization.shared.composed(text, start, end, classes)
      pieces(of: composed.span, 0, composed.count, into: &ids, &scratch)
    }
  }

  private func pieces(
    of text: Span<UInt8>, _ start: Int, _ end: Int, into ids: inout [Int32],
    _ scratch: inout Scratch
  ) {
    switch splitter {
    case .qwen: pieces(of: text, start, end, into: &ids, &scratch, splitter: .qwen)
    case .gpt2: pieces(of: text, start, end, into: &ids, &scratch, splitter: .gpt2)
    case .smollm: pieces(of: text, start, end, into: &ids, &scratch, splitter: .smollm)
    }
  }

  @inline(__always)
  private func pieces(
    of text: Span<UInt8>, _ start: Int, _ end: Int, into ids: inout [Int32],
    _ scratch: inout Scratch, splitter: Splitter
  ) {
    let classes = self.classes
    var index = start
    while index < end {
      let next = splitter.next(text, index, end, classes)
      piece(text, index, next, isSegment: false, into: &ids, &scratch)
      index = next
    }
  }

  /// Appends the ids of a piece, or of a segment of one, that may have been met before.
  @inline(__always)
  private func piece(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, isSegment: Bool, into ids: inout [Int32],
    _ scratch: inout Scratch
  ) {
    let count = end &- start
    if count <= PieceCache.longest, let key = PieceCache.Key(text, start, count: count) {
      if let known = scratch.cache.find(key) {
        ids.append(known[0])
        if known[1] >= 0 {
          for lane in 1..<4 where known[lane] >= 0 { ids.append(known[lane]) }
        }
      } else {
        let first = ids.count
        look(text, start, end, isSegment: isSegment, into: &ids, &scratch)
        scratch.cache.insert(key, ids, from: first)
      }
    } else {
      look(text, start, end, isSegment: isSegment, into: &ids, &scratch)
    }
  }

  /// Looks up the segments of a piece, or all of it, and merges what is no token, or is not known to merge to one.
  @inline(never)
  private func look(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, isSegment: Bool, into ids: inout [Int32],
    _ scratch: inout Scratch
  ) {
    if !isSegment, let characters = merger.characters {
      var index = characters.segment(text, start, end)
      if index < end {
        piece(text, start, index, isSegment: true, into: &ids, &scratch)
        while index < end {
          let next = characters.segment(text, index, end)
          piece(text, index, next, isSegment: true, into: &ids, &scratch)
          index = next
        }
        return
      }
    }
    let id = pieces.find(text, start, end, tokens)
    if id >= 0, areWhole || scratch.cache.isWhole(id) {
      ids.append(id)
      return
    }
    merger.merge(text, start, end, &scratch.merger)
    if id >= 0, scratch.merger.ids.count == 1, scratch.merger.ids[0] == id {
      scratch.cache.markWhole(id)
    }
    ids.append(contentsOf: scratch.merger.ids)
  }
}
