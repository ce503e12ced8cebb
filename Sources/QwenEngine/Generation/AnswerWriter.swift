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

  /// Adds the events of what the prompt has begun already.
  mutating func begin(into events: inout [RunEvent]) {
    guard let chat, let pieces = parser?.begin(chat.opening) else { return }
    add(pieces, id: -1, logprob: 0, to: &events)
  }

  /// Reads a token. Adds its events and returns the stop text that it completes.
  mutating func push(
    _ id: Int32, logprob: Float?, into events: inout [RunEvent]
  ) -> String? {
    let before = events.count
    var match: Int?
    if let marker = parser?.marker(of: id) {
      // A marker is a token: no stop text goes on across it.
      flush(id: id, logprob: logprob ?? 0, into: &events)
      text += marker.rawValue
      if let pieces = parser?.push(marker) {
        add(pieces, id: id, logprob: logprob ?? 0, to: &events)
      }
    } else {
      let (piece, found) = filter.push(decoder.push(id))
      take(piece, id: id, logprob: logprob ?? 0, into: &events)
      match = found
    }
    if let logprob, events.count == before { events.append(.text("", id: id, logprob: logprob)) }
    return match.map { stops[$0] }
  }

  /// Whether the request wants no more than what was written.
  var isOver: Bool { chat?.isSingleCall == true && parser?.hasCompleteCall == true }

  /// The end: adds what was held back, unless a stop text was found.
  mutating func finish(isStopped: Bool, into events: inout [RunEvent]) {
    if !isStopped { flush(id: -1, logprob: 0, into: &events) }
    if let pieces = parser?.finish() { add(pieces, id: -1, logprob: 0, to: &events) }
  }

  /// Tells a finished result what was said.
  func conclude(_ result: inout RunResult) {
    result.text = text
    if let chat { result.conclude(chat, parser?.answer) }
  }

  private mutating func flush(id: Int32, logprob: Float, into events: inout [RunEvent]) {
    let (piece, _) = filter.push(decoder.finish())
    take(piece + filter.finish(), id: id, logprob: logprob, into: &events)
  }

  private mutating func take(
    _ piece: String, id: Int32, logprob: Float, into events: inout [RunEvent]
  ) {
    guard !piece.isEmpty else { return }
    text += piece
    guard let pieces = parser?.push(piece) else {
      return events.append(.text(piece, id: id, logprob: logprob))
    }
    add(pieces, id: id, logprob: logprob, to: &events)
  }

  private func add(
    _ pieces: [AnswerPiece], id: Int32, logprob: Float, to events: inout [RunEvent]
  ) {
    for piece in pieces {
      switch piece {
      case .content(let text): events.append(.text(text, id: id, logprob: logprob))
      case .reasoning(let text): events.append(.reasoning(text, id: id, logprob: logprob))
      case .call(let index, let call, let name):
        events.append(
          .call(index: index, callID: call, name: name, id: id, logprob: logprob))
      case .arguments(let index, let text):
        events.append(.arguments(index: index, text, id: id, logprob: logprob))
      }
    }
  }
}
