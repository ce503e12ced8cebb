/// Takes an answer apart as it is written: reasoning, content, calls.
///
/// Pieces never hold part of a marker, and joined by kind they are the answer.
package struct AnswerParser: Sendable {
  private enum Calls: Sendable {
    case none
    case react(ReActParser)
    case hermes(HermesParser)
  }

  private let tokens: [Int32: Marker]
  private var reasoning: ReasoningSplitter
  private var calls: Calls
  /// What is known so far.
  package private(set) var answer = Answer()

  /// nil where an answer is nothing but text.
  package init?(_ opening: AnswerOpening, format: ChatFormat) {
    if opening.syntax == nil, opening.reasoning == .never { return nil }
    var tokens: [Int32: Marker] = [:]
    for (marker, id) in format.markers {
      switch marker {
      case .think, .endThink: if format.reasons { tokens[id] = marker }
      case .toolCall, .endToolCall: if opening.syntax == .hermes { tokens[id] = marker }
      case .toolResponse, .endToolResponse: break
      }
    }
    self.tokens = tokens
    reasoning = ReasoningSplitter(opening.reasoning, tokens: Set(format.markers.keys))
    calls =
      switch opening.syntax {
      case .react:
        .react(ReActParser(isThought: opening.isThought, firstCall: opening.earlierCalls))
      case .hermes:
        .hermes(
          HermesParser(tokens: Set(format.markers.keys), firstCall: opening.earlierCalls))
      case nil: .none
      }
  }

  /// Text that ends an answer beside what the request names.
  package var stops: [String] { if case .react = calls { [ReActParser.stop] } else { [] } }

  /// The marker that a token is; nil for ordinary tokens.
  package func marker(of id: Int32) -> Marker? { tokens[id] }

  /// The beginning of a call that the prompt has written already.
  package mutating func begin(_ opening: AnswerOpening) -> [AnswerPiece] {
    var pieces: [AnswerPiece] = []
    for part in opening.forced {
      switch part {
      case .text(let text): pieces += push(text)
      case .marker(let marker):
        pieces += tokens.values.contains(marker) ? push(marker) : push(marker.rawValue)
      }
    }
    return pieces
  }

  /// Whether a call is over, in a syntax that says where calls end.
  package var hasCompleteCall: Bool {
    if case .hermes(let parser) = calls { parser.callCount > 0 } else { false }
  }

  /// More text of the answer.
  package mutating func push(_ text: String) -> [AnswerPiece] { note(reasoning.push(text)) }

  /// A token that is a marker.
  package mutating func push(_ marker: Marker) -> [AnswerPiece] { note(reasoning.push(marker)) }

  /// The end of the answer: what was held back.
  package mutating func finish() -> [AnswerPiece] {
    var pieces = note(reasoning.finish())
    var rest: [AnswerPiece]
    switch calls {
    case .none: rest = []
    case .react(var parser):
      rest = parser.finish()
      // A thought that turned out to be the whole answer is no reasoning.
      if !parser.hasCalled, answer.content.isEmpty, !rest.isEmpty, !reasoning.hasReasoned {
        answer.reasoning = nil
        rest = rest.filter { if case .content = $0 { true } else { false } }
      }
      calls = .react(parser)
    case .hermes(var parser):
      rest = parser.finish()
      calls = .hermes(parser)
    }
    for piece in rest { answer.append(piece) }
    pieces += rest
    return pieces
  }

  private mutating func note(_ parts: [ReasoningSplitter.Part]) -> [AnswerPiece] {
    var pieces: [AnswerPiece] = []
    for part in parts {
      switch (part, calls) {
      case (.reasoning(let text), _): pieces.append(.reasoning(text))
      case (.text(let text), .none): pieces.append(.content(text))
      case (.marker(let marker), .none): pieces.append(.content(marker.rawValue))
      case (.text(let text), .react(var parser)):
        pieces += parser.push(text)
        calls = .react(parser)
      case (.marker(let marker), .react(var parser)):
        pieces += parser.push(marker.rawValue)
        calls = .react(parser)
      case (.text(let text), .hermes(var parser)):
        pieces += parser.push(text)
        calls = .hermes(parser)
      case (.marker(let marker), .hermes(var parser)):
        pieces += parser.push(marker)
        calls = .hermes(parser)
      }
    }
    for piece in pieces { answer.append(piece) }
    return pieces
  }
}
