/// Finds calls between `<tool_call>` and `</tool_call>`.
struct HermesParser: Sendable {
  private static let open = [Array(Marker.toolCall.rawValue.utf8)]
  private static let close = [Array(Marker.endToolCall.rawValue.utf8)]

  /// Markers that are tokens; others are looked for in the text.
  private let tokens: Set<Marker>
  private let firstCall: Int
  private var scanner = MarkerScanner()
  private var body: CallBody?
  private(set) var callCount = 0
  /// Line feeds that may turn out to stand before a call.
  private var feeds = ""
  private var hasContent = false

  init(tokens: Set<Marker>, firstCall: Int) {
    self.tokens = tokens
    self.firstCall = firstCall
  }

  mutating func push(_ text: String) -> [AnswerPiece] {
    scanner.append(text)
    var pieces: [AnswerPiece] = []
    while true {
      let isInside = body != nil
      let step = scanner.next(isInside ? closing : opening)
      pieces += take(step.text)
      guard step.found != nil else { return pieces }
      pieces += isInside ? end(isComplete: true) : begin()
    }
  }

  /// A marker that was a token.
  mutating func push(_ marker: Marker) -> [AnswerPiece] {
    let pieces = take(scanner.finish())
    switch (marker, body == nil) {
    case (.toolCall, true): return pieces + begin()
    // A call that was not closed ends where the next begins.
    case (.toolCall, false): return pieces + end(isComplete: false) + begin()
    case (.endToolCall, false): return pieces + end(isComplete: true)
    default: return pieces + take(marker.rawValue)
    }
  }

  /// The end of the answer.
  mutating func finish() -> [AnswerPiece] {
    let pieces = take(scanner.finish()) + end(isComplete: false)
    defer { feeds = "" }
    return callCount == 0 && !feeds.isEmpty ? pieces + [.content(feeds)] : pieces
  }

  private var opening: [[UInt8]] { tokens.contains(.toolCall) ? [] : HermesParser.open }
  private var closing: [[UInt8]] { tokens.contains(.endToolCall) ? [] : HermesParser.close }

  private mutating func take(_ text: String) -> [AnswerPiece] {
    guard !text.isEmpty else { return [] }
    if body != nil { return pieces(of: body?.push(text) ?? []) }
    var whole = feeds + text
    if callCount > 0, !hasContent { whole = whole.droppingLeadingLineFeeds() }
    let solid = whole.droppingTrailingLineFeeds()
    feeds = String(repeating: "\n", count: whole.utf8.count - solid.utf8.count)
    if solid.isEmpty { return [] }
    hasContent = true
    return [.content(solid)]
  }

  private mutating func begin() -> [AnswerPiece] {
    feeds = ""
    hasContent = false
    body = CallBody()
    return []
  }

  private mutating func end(isComplete: Bool) -> [AnswerPiece] {
    guard var last = body else { return [] }
    let rest = last.finish()
    let found = pieces(of: rest)
    body = nil
    if last.name != nil {
      callCount += 1
      return found
    }
    // Without a name it is no call: it stays visible as it was written.
    let text = String(decoding: last.bytes, as: UTF8.self)
    return take(Marker.toolCall.rawValue + text + (isComplete ? Marker.endToolCall.rawValue : ""))
  }

  private func pieces(of known: [CallBody.Piece]) -> [AnswerPiece] {
    known.map { piece in
      switch piece {
      case .name(let name):
        .call(index: callCount, id: "call_\(firstCall + callCount)", name: name)
      case .arguments(let text): .arguments(index: callCount, text: text)
      }
    }
  }
}
