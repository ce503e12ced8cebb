/// Tells thoughts, actions and the final answer apart in what a model writes in ReAct.
///
/// The words count at the beginning of a line only. As in the release, the last action with an input is the
/// call, and what follows its input up to the observation belongs to the input. "Observation:" itself never
/// comes here: it ends the run.
struct ReActParser: Sendable {
  private enum State: Equatable { case content, thought, action, input, final }

  /// The words, as numbers of `words`.
  private enum Word: Int { case thought, action, input, final }
  private static let words = ["\nThought:", "\nAction:", "\nAction Input:", "\nFinal Answer:"]
    .map { Array($0.utf8) }
  /// Where the answer ends.
  package static let stop = "\nObservation:"

  private let firstCall: Int
  private var scanner = MarkerScanner()
  private var state = State.content
  /// What an action interrupts that may turn out to be none.
  private var before = State.content
  private var action = ""
  /// White space that is not certain to be inside of a part.
  private var space = ""
  private var hasText = false
  private var thought = ""
  private var hasAnswered = false
  private(set) var hasCalled = false

  init(isThought: Bool, firstCall: Int) {
    self.firstCall = firstCall
    if isThought {
      state = .thought
    }
    // The answer begins a line.
    else {
      scanner.append("\n")
    }
  }

  mutating func push(_ text: String) -> [AnswerPiece] {
    scanner.append(text)
    var pieces: [AnswerPiece] = []
    while true {
      let wanted = watched
      let step = scanner.next(wanted.map { ReActParser.words[$0.rawValue] })
      pieces += take(step.text)
      guard let found = step.found else { return pieces }
      pieces += enter(wanted[found])
    }
  }

  /// The end of the answer. With neither call nor final answer the whole was the answer.
  mutating func finish() -> [AnswerPiece] {
    var pieces = take(scanner.finish())
    if state == .action { pieces += revert() }
    if !hasCalled, !hasAnswered, !thought.isEmpty {
      let whole = thought.strippingSpace()
      thought = ""
      if !whole.isEmpty { pieces.append(.content(whole)) }
    }
    return pieces
  }

  private var watched: [Word] {
    switch state {
    case .content, .thought: [.thought, .action, .final]
    case .action: [.input, .action]
    case .input, .final: [.action]
    }
  }

  private mutating func enter(_ word: Word) -> [AnswerPiece] {
    var pieces: [AnswerPiece] = []
    switch word {
    case .action:
      if state == .action { pieces = revert() }
      before = state
      action = ""
      state = .action
      return pieces
    case .input:
      let name = action.strippingSpace()
      state = .input
      hasCalled = true
      pieces = [.call(index: 0, id: "call_\(firstCall)", name: name)]
    case .thought:
      if state == .thought, hasText {
        // One thought after the other.
        thought += "\n"
        pieces = [.reasoning("\n")]
      }
      state = .thought
    case .final:
      state = .final
    }
    space = ""
    hasText = false
    return pieces
  }

  private mutating func take(_ text: String) -> [AnswerPiece] {
    if state == .action {
      action += text
      // A name stands on one line: what goes on without an input is no action.
      let isOver = action.strippingSpace().holds("\n")
      return isOver ? revert() : []
    }
    var whole = space + text
    if !hasText { whole = whole.strippingLeadingSpace() }
    let solid = whole.droppingTrailingSpace()
    space = String(Substring(whole.utf8.dropFirst(solid.utf8.count)))
    if solid.isEmpty { return [] }
    hasText = true
    switch state {
    case .thought:
      thought += solid
      return [.reasoning(solid)]
    case .input: return [.arguments(index: 0, text: solid)]
    case .content, .final, .action:
      hasAnswered = true
      return [.content(solid)]
    }
  }

  /// What looked like an action goes on as what stood before it.
  private mutating func revert() -> [AnswerPiece] {
    let text = (before == .content && !hasText ? "" : "\n") + "Action:" + action
    state = before
    action = ""
    return take(text)
  }
}
