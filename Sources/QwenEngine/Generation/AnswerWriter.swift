internal import QwenText

/// Turns chosen tokens into text, and a chat's text into what it means: content, reasoning, calls.
struct AnswerWriter {
  /// Everything that was written.
  private(set) var text = ""
  private var decoder: StreamingDecoder
  private var filter: StopFilter
  private var parser: AnswerParser?
  private let stops: [String]
  private let chat: ChatContext?

  init(_ request: Request, tokenizer: Tokenizer) {
    chat = request.chat
    parser = request.chat?.parser
    stops = request.options.stop + (parser?.stops ?? [])
    decoder = StreamingDecoder(tokenizer: tokenizer, skipSpecial: request.options.skipSpecial)
    filter = StopFilter(stops: stops)
  }

  /// Makes room for as many tokens.
  mutating func reserve(_ tokens: Int) { text.reserveCapacity(6 * tokens) }

  /// What the prompt has begun already.
  mutating func begin() -> [RunEvent] {
    guard let chat, let pieces = parser?.begin(chat.opening) else { return [] }
    return events(pieces, id: -1, logprob: 0)
  }

  /// Reads a token. Gives its events and the stop text that it completes.
  mutating func push(_ id: Int32, logprob: Float?) -> (events: [RunEvent], stop: String?) {
    var events: [RunEvent]
    var match: Int?
    if let marker = parser?.marker(of: id) {
      // A marker is a token: no stop text goes on across it.
      events = flush(id: id, logprob: logprob ?? 0)
      text += marker.rawValue
      if let pieces = parser?.push(marker) {
        events += self.events(pieces, id: id, logprob: logprob ?? 0)
      }
    } else {
      let (piece, found) = filter.push(decoder.push(id))
      events = take(piece, id: id, logprob: logprob ?? 0)
      match = found
    }
    if let logprob, events.isEmpty { events = [.text("", id: id, logprob: logprob)] }
    return (events, match.map { stops[$0] })
  }

  /// Whether the request wants no more than what was written.
  var isOver: Bool { chat?.isSingleCall == true && parser?.hasCompleteCall == true }

  /// The end: what was held back, unless a stop text was found.
  mutating func finish(isStopped: Bool) -> [RunEvent] {
    let events = isStopped ? [] : flush(id: -1, logprob: 0)
    guard let pieces = parser?.finish() else { return events }
    return events + self.events(pieces, id: -1, logprob: 0)
  }

  /// Tells a finished result what was said.
  func conclude(_ result: inout RunResult) {
    result.text = text
    if let chat { result.conclude(chat, parser?.answer) }
  }

  private mutating func flush(id: Int32, logprob: Float) -> [RunEvent] {
    let (piece, _) = filter.push(decoder.finish())
    return take(piece + filter.finish(), id: id, logprob: logprob)
  }

  private mutating func take(_ piece: String, id: Int32, logprob: Float) -> [RunEvent] {
    guard !piece.isEmpty else { return [] }
    text += piece
    guard let pieces = parser?.push(piece) else { return [.text(piece, id: id, logprob: logprob)] }
    return events(pieces, id: id, logprob: logprob)
  }

  private func events(_ pieces: [AnswerPiece], id: Int32, logprob: Float) -> [RunEvent] {
    pieces.map { piece in
      switch piece {
      case .content(let text): .text(text, id: id, logprob: logprob)
      case .reasoning(let text): .reasoning(text, id: id, logprob: logprob)
      case .call(let index, let call, let name): .call(index: index, id: call, name: name)
      case .arguments(let index, let text):
        .arguments(index: index, text, id: id, logprob: logprob)
      }
    }
  }
}
