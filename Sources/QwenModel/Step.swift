internal import QwenFormats
internal import QwenTensor

/// A place in the forward pass that an observer may look at.
package enum Stage: Sendable, Equatable {
  case embedding
  /// The residual stream behind layer i.
  case layer(Int)
  /// The hidden states that the head multiplies.
  case finalNorm
}

/// One forward pass over slices: the operations a family's forward is written in.
///
/// Row t of every activation belongs to token t of all slices laid one behind the other.
package struct Step {
  let configuration: ModelConfiguration
  let compute: Compute
  let tokens: [Int32]
  let spans: [SequenceSpan]
  let rotary: RotaryTable
  let attention: AttentionScratch
  let observer: ((Stage, Rows) -> Void)?
  /// Sees what matrices are multiplied by; nil but for measurements.
  var meter: InputMeter?

  /// The residual stream, [T, H].
  let hidden: Rows
  /// Behind a norm, [T, H].
  let normed: Rows
  let query: Rows
  let key: Rows
  let value: Rows
  let attended: Rows
  let gate: Rows
  let up: Rows
  let experts: ExpertBuffers?

  init(
    _ slices: [Slice], _ c: ModelConfiguration, _ w: Workspace,
    observer: ((Stage, Rows) -> Void)?
  ) throws(TensorError) {
    configuration = c
    compute = w.compute
    rotary = w.rotary
    attention = w.attention
    experts = w.experts
    self.observer = observer
    w.tokens.removeAll(keepingCapacity: true)
    w.spans.removeAll(keepingCapacity: true)
    for slice in slices {
      let sequence = slice.sequence
      sequence.begin(c, promptLength: sequence.length + slice.tokens.count)
      guard let plan = sequence.plan else { continue }
      try sequence.cache.reserve(sequence.length + slice.tokens.count)
      let rows = w.tokens.count..<w.tokens.count + slice.tokens.count
      guard rows.upperBound <= w.maximumTokens else {
        throw .shape("a step of more than \(w.maximumTokens) tokens")
      }
      for row in rows {
        rotary.fill(
          row: row, position: sequence.length + row - rows.lowerBound, plan.frequencies)
      }
      w.tokens += slice.tokens
      w.spans.append(
        SequenceSpan(
          cache: sequence.cache, rows: rows, position: sequence.length,
          logScaleStart: plan.logScaleStart))
    }
    tokens = w.tokens
    spans = w.spans
    let count = tokens.count
    hidden = try Rows(w.hidden, tokens: count, columns: c.hiddenSize)
    normed = try Rows(w.normed, tokens: count, columns: c.hiddenSize)
    query = try Rows(w.query, tokens: count, columns: c.queryHeads * c.headDim)
    key = try Rows(w.key, tokens: count, columns: c.kvHeads * c.headDim)
    value = try Rows(w.value, tokens: count, columns: c.kvHeads * c.headDim)
    attended = try Rows(w.attended, tokens: count, columns: c.queryHeads * c.headDim)
    gate = try Rows(w.gate, tokens: count, columns: c.intermediateSize)
    up = try Rows(w.up, tokens: count, columns: c.intermediateSize)
  }

  /// hidden = embedding[tokens].
  func embed(_ embedding: Matrix) throws(TensorError) {
    try compute.embed(tokens[...], from: embedding, into: hidden)
    observer?(.embedding, hidden)
  }

  /// normed = RMSNorm(hidden) * weight.
  func normalize(_ weight: FloatBuffer) throws(TensorError) {
    try compute.normalize(hidden, weight, epsilon: configuration.normEpsilon, into: normed)
  }

  /// query, key, value = projections of normed.
  func project(_ layer: DecoderLayer) throws(TensorError) {
    try meter?.willMultiply(normed, layer.query, layer.key, layer.value)
    try compute.multiply(normed, (layer.query, query), (layer.key, key), (layer.value, value))
  }

  /// attended = softmax(q k / sqrt(D)) v over what the caches hold and what this step adds.
  func attend(_ index: Int, headNorms: HeadNorms? = nil) throws(TensorError) {
    let shape = configuration.attentionShape(layer: index)
    try compute.rotateAndStore(
      query: query, key: key, value: value, norms: headNorms, shape: shape, table: rotary,
      layer: index, spans: spans)
    try compute.attend(
      query: query, out: attended, shape: shape, layer: index, spans: spans, scratch: attention)
  }

  /// hidden += output(attended).
  func addAttention(_ layer: DecoderLayer) throws(TensorError) {
    try meter?.willMultiply(attended, layer.output)
    try compute.multiplyAdd(layer.output, attended, into: hidden)
  }

  /// hidden += down(silu(gate(normed)) * up(normed)).
  func addFeedForward(_ layer: DecoderLayer) throws(TensorError) {
    switch layer.feedForward {
    case .dense(let w):
      try meter?.willMultiply(normed, w.gate, w.up)
      try compute.multiplyGated(gate: w.gate, up: w.up, normed, out: gate, scratch: up)
      try meter?.willMultiply(gate, w.down)
      try compute.multiplyAdd(w.down, gate, into: hidden)
    case .experts(let w):
      guard let sizes = configuration.experts, let experts else { return }
      try addExperts(w, sizes, experts)
    }
  }

  func observe(_ stage: Stage, _ rows: Rows) { observer?(stage, rows) }
}
