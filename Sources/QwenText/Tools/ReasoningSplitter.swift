/// Tells the reasoning between `<think>` and `</think>` from the answer behind it.
struct ReasoningSplitter: Sendable {
  /// What a piece is.
  enum Part: Equatable {
    case reasoning(String)
    case text(String)
    case marker(Marker)
  }

  private enum State { case start, reasoning, answerStart, answer }

  private static let open = [Array(Marker.think.rawValue.utf8)]
  private static let close = [Array(Marker.endThink.rawValue.utf8)]

  /// Markers that are tokens; others are looked for in the text.
  private let tokens: Set<Marker>
  private var state: State
  private var scanner = MarkerScanner()
  /// White space before the answer has shown what it begins with, or line feeds at the end of reasoning.
  private var space = ""
  /// Whether there was reasoning.
  private(set) var hasReasoned = false

  init(_ reasoning: AnswerOpening.Reasoning, tokens: Set<Marker>) {
    self.tokens = tokens
    state =
      switch reasoning {
      case .never: .answer
      case .possible: .start
      case .open: .reasoning
      }
  }

  mutating func push(_ text: String) -> [Part] {
    if state == .answer {
      let whole = scanner.finish() + text
      return whole.isEmpty ? [] : [.text(whole)]
    }
    scanner.append(text)
    var parts: [Part] = []
    while true {
      let step = scanner.next(wanted)
      parts += take(step.text)
      guard step.found != nil else { return parts }
      if state == .answer {
        // The answer began before it: too late for reasoning.
        parts.append(.text(Marker.think.rawValue))
      } else {
        enter()
      }
    }
  }

  /// A marker that was a token.
  mutating func push(_ marker: Marker) -> [Part] {
    let parts = take(scanner.finish())
    switch (marker, state) {
    case (.think, .start), (.endThink, .reasoning):
      enter()
      return parts
    case (_, .reasoning): return parts + take(marker.rawValue)
    case (_, .start), (_, .answerStart):
      state = .answer
      space = ""
      return parts + [.marker(marker)]
    case (_, .answer): return parts + [.marker(marker)]
    }
  }

  /// The end of the answer.
  mutating func finish() -> [Part] {
    let parts = take(scanner.finish())
    guard state == .start, !space.isEmpty else { return parts }
    defer { space = "" }
    return parts + [.text(space)]
  }

  private var wanted: [[UInt8]] {
    switch state {
    case .start: tokens.contains(.think) ? [] : ReasoningSplitter.open
    case .reasoning: tokens.contains(.endThink) ? [] : ReasoningSplitter.close
    case .answerStart, .answer: []
    }
  }

  private mutating func enter() {
    state = state == .start ? .reasoning : .answerStart
    space = ""
  }

  private mutating func take(_ text: String) -> [Part] {
    guard !text.isEmpty else { return [] }
    switch state {
    case .start:
      space += text
      guard space.utf8.contains(where: { $0 != 0x20 && !(0x09...0x0D).contains($0) }) else {
        return []
      }
      state = .answer
      defer { space = "" }
      return [.text(space)]
    case .reasoning:
      var whole = space + text
      if !hasReasoned { whole = whole.droppingLeadingLineFeeds() }
      let solid = whole.droppingTrailingLineFeeds()
      space = String(repeating: "\n", count: whole.utf8.count - solid.utf8.count)
      if solid.isEmpty { return [] }
      hasReasoned = true
      return [.reasoning(solid)]
    case .answerStart:
      let rest = text.droppingLeadingLineFeeds()
      if rest.isEmpty { return [] }
      state = .answer
      return [.text(rest)]
    case .answer: return [.text(text)]
    }
  }
}
