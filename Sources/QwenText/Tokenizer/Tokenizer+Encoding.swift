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
    var scratch = BytePairMerger.Scratch()
    var index = 0
    if let allowed {
      while let hit = specialTokens.find(text, index, text.count, allowed) {
        stretch(text, index, hit.start, isNormal: isNormal, into: &ids, &scratch)
        ids.append(specialTokens.entries[hit.entry].id)
        index = hit.end
      }
    }
    stretch(text, index, text.count, isNormal: isNormal, into: &ids, &scratch)
  }

  private func stretch(
    _ text: Span<UInt8>, _ start: Int, _ end: Int, isNormal: Bool, into ids: inout [Int32],
    _ scratch: inout BytePairMerger.Scratch
  ) {
    if isNormal {
      pieces(of: text, start, end, into: &ids, &scratch)
    } else {
      let composed = Normalization.shared.composed(text, start, end, classes)
      pieces(of: composed.span, 0, composed.count, into: &ids, &scratch)
    }
  }

  /// The hot loop: cut a piece, look it up whole, merge it only if that fails.
  private func pieces(
    of text: Span<UInt8>, _ start: Int, _ end: Int, into ids: inout [Int32],
    _ scratch: inout BytePairMerger.Scratch
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
    _ scratch: inout BytePairMerger.Scratch, splitter: Splitter
  ) {
    let (classes, pieces, tokens) = (self.classes, self.pieces, self.tokens)
    var index = start
    while index < end {
      let next = splitter.next(text, index, end, classes)
      let slot = pieces.find(text, index, next, tokens)
      if slot.id >= 0, slot.isWhole {
        ids.append(slot.id)
      } else {
        merger.merge(text, index, next, &scratch)
        ids.append(contentsOf: scratch.ids)
      }
      index = next
    }
  }
}
