import QwenEngine
import QwenFormats
import Testing

/// What must not change an answer: guesses, neighbours in a batch, forks, saved states, shared prefixes. On every tiny
/// model, greedy and sampled.
struct GenerationTests {
  static let names = [
    "llama", "llama-gguf-q4", "qwen-gguf", "qwen-launch", "qwen-ntk", "qwen2-gguf-q4", "qwen2-moe",
    "qwen2-tied", "qwen3", "qwen3-moe",
  ]
  static let greedy: JSONObject = ["max_new_tokens": 40, "stop_ids": [], "do_sample": false]
  static let sampled: JSONObject = [
    "max_new_tokens": 40, "stop_ids": [], "temperature": 1.3, "top_p": 0.9, "seed": 5,
    "frequency_penalty": 0.1,
  ]

  @Test(arguments: names)
  func `guesses change nothing`(name: String) throws {
    let model = try open(name)
    let session = try Session(model, options: [:])
    try session.setDraft(model)
    for options in [Self.greedy, Self.sampled] {
      let plain = try answer(session, model, prompt, options)
      let length = session.tokens.count
      for way in ["lookup", "draft"] as [JSONValue] {
        var guessing = options
        guessing["speculative"] = way
        session.reset()
        let guessed = try answer(session, model, prompt, guessing)
        #expect(guessed.ids == plain.ids)
        #expect(session.tokens.count == length)
        session.reset()
      }
    }
  }

  @Test func `another model guesses, and is refused where its vocabulary is another`() throws {
    let (model, other) = (try open("qwen2-tied"), try open("qwen2-untied"))
    let session = try Session(model, options: [:])
    let plain = try answer(session, model, prompt, Self.sampled)
    session.reset()
    try session.setDraft(other)
    var guessing = Self.sampled
    guessing["speculative"] = ["draft": ["max": 3]]
    let guessed = try answer(session, model, prompt, guessing)
    #expect(guessed.ids == plain.ids)
    #expect(guessed.speculation?.drafted ?? 0 > 0)
    let stranger = try open("qwen-launch")
    #expect(throws: EngineError.self) { try session.setDraft(stranger) }
  }

  @Test(arguments: names)
  func `neighbours in a batch change nothing`(name: String) throws {
    let model = try open(name)
    let batch = try Batch(model, options: ["max_sequences": 3, "prefill_chunk": 16])
    var wanted: [Int64: [Int32]] = [:]
    var found: [Int64: [Int32]] = [:]
    for index in 0..<5 {
      let own = Array(prompt[index...])
      let options = index % 2 == 0 ? Self.greedy : Self.sampled
      let request = try request(model, own, options)
      wanted[try batch.submit(request)] =
        try answer(try Session(model, options: [:]), model, own, options).ids
    }
    var steps = 0
    while batch.remaining > 0, steps < 500 {
      try batch.step { id, report in
        if case .event(.done(let result)) = report { found[id] = result.ids }
        return true
      }
      steps += 1
    }
    #expect(found == wanted)
  }

  @Test(arguments: names)
  func `a state goes on where it was saved`(name: String) throws {
    let model = try open(name)
    let session = try Session(model, options: [:])
    let first = try answer(session, model, prompt, Self.greedy)
    var bytes: [UInt8] = []
    unsafe session.save { unsafe bytes.append(contentsOf: $0) }
    #expect(bytes.count == session.stateSize)
    let fork = try session.fork()
    let restored = try Session(model, options: [:])
    try unsafe bytes.withUnsafeBytes { try unsafe restored.load(from: $0) }
    #expect(restored.tokens == session.tokens)
    let longer = prompt + first.ids + prompt
    let wanted = try answer(session, model, longer, Self.sampled)
    for other in [fork, restored] {
      let result = try answer(other, model, longer, Self.sampled)
      #expect(result.ids == wanted.ids)
      #expect(result.cachedTokens == wanted.cachedTokens)
    }
  }

  @Test(arguments: names)
  func `a shared prefix changes nothing`(name: String) throws {
    let model = try open(name, ["prefix_cache": 16])
    let long = Array(repeatElement(prompt, count: 12).joined())
    let first = try answer(try Session(model, options: [:]), model, long, Self.sampled)
    let second = try answer(try Session(model, options: [:]), model, long, Self.sampled)
    #expect(first.cachedTokens == 0)
    #expect(second.cachedTokens == (long.count - 1) / 64 * 64)
    #expect(second.ids == first.ids)
    let float = try Session(model, options: ["kv_cache": "f32"])
    #expect(try answer(float, model, long, Self.sampled).cachedTokens == 0)
  }

  @Test func `a run that is undone leaves what was there`() throws {
    let model = try open("qwen3")
    let session = try Session(model, options: [:])
    _ = try answer(session, model, prompt, Self.greedy)
    let before = session.tokens
    var run = try Run(session, try request(model, [9, 8, 7], Self.greedy), keepsPast: true)
    for _ in 0..<5 { _ = try run.next() }
    #expect(session.tokens != before)
    try run.undo()
    #expect(session.tokens == before)
    let again = try answer(session, model, before + [1], Self.greedy)
    #expect(again.cachedTokens == before.count)
  }

  private let prompt: [Int32] = [5, 17, 33, 5, 17, 33, 5, 17, 40, 41, 42, 5, 17]

  private func open(_ name: String, _ options: JSONObject = [:]) throws -> Model {
    let root = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
    let folder = "/\(root)/Fixtures/tiny/\(name)"
    let path = name.contains("gguf") ? "\(folder)/model.gguf" : folder
    return try Model(path: path, options: options)
  }

  private func request(_ model: Model, _ ids: [Int32], _ options: JSONObject) throws -> Request {
    var object = options
    object["prompt_ids"] = .array(ids.map { .integer(Int($0)) })
    return try Request.generate(model, object)
  }

  private func answer(
    _ session: Session, _ model: Model, _ ids: [Int32], _ options: JSONObject
  ) throws -> RunResult {
    var run = try Run(session, try request(model, ids, options))
    while let event = try run.next() {
      if case .done(let result) = event { return result }
    }
    throw EngineError(.internal, "no result")
  }
}
