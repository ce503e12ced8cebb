internal import Glibc
internal import QwenTensor

/// Buffers of a mixture of experts, for the largest step of a session.
struct ExpertBuffers: Sendable {
  /// [T, E].
  let scores: FloatBuffer
  /// Tokens of one expert, [T, H].
  let gathered: FloatBuffer
  /// Inside an expert, [T, I] each.
  let gate: FloatBuffer
  let up: FloatBuffer
  /// What one expert makes of its tokens, [T, H].
  let made: FloatBuffer
  /// What all of them make, [T, H].
  let sum: FloatBuffer

  init(_ c: ModelConfiguration, _ sizes: ExpertSizes, tokens: Int) throws(TensorError) {
    let width = max(sizes.width, sizes.sharedWidth)
    scores = try FloatBuffer(count: tokens * sizes.count)
    gathered = try FloatBuffer(count: tokens * c.hiddenSize)
    gate = try FloatBuffer(count: tokens * width)
    up = try FloatBuffer(count: tokens * width)
    made = try FloatBuffer(count: tokens * c.hiddenSize)
    sum = try FloatBuffer(count: tokens * c.hiddenSize)
  }

  static func byteCount(_ c: ModelConfiguration, _ sizes: ExpertSizes, tokens: Int) -> Int {
    let width = max(sizes.width, sizes.sharedWidth)
    return tokens * (sizes.count + 3 * c.hiddenSize + 2 * width) * 4
  }
}

extension Step {
  /// hidden += what the chosen experts and the shared one make of normed.
  ///
  /// A token's parts are added in rising order of its experts, then the shared one: the sum does not depend
  /// on the tokens beside it.
  func addExperts(_ w: ExpertWeights, _ sizes: ExpertSizes, _ buffers: ExpertBuffers)
    throws(TensorError)
  {
    let (count, width) = (tokens.count, hidden.columns)
    let scores = try Rows(buffers.scores, tokens: count, columns: sizes.count)
    try compute.multiply(w.router, normed, into: scores)
    var members = [[(token: Int, weight: Float)]](repeating: [], count: sizes.count)
    for token in 0..<count {
      for (expert, weight) in Self.route(scores.slice(token), sizes) {
        members[expert].append((token, weight))
      }
    }
    let sum = try Rows(buffers.sum, tokens: count, columns: width)
    for token in 0..<count { sum.clear(token) }
    for (expert, chosen) in members.enumerated() where !chosen.isEmpty {
      let gathered = try Rows(buffers.gathered, tokens: chosen.count, columns: width)
      for (row, member) in chosen.enumerated() { gathered.copy(normed, member.token, to: row) }
      let made = try make(w.experts[expert], gathered, width: sizes.width, buffers)
      for (row, member) in chosen.enumerated() {
        sum.add(made, row, times: member.weight, to: member.token)
      }
    }
    if let shared = w.shared, let gate = w.sharedGate {
      let weights = try Rows(buffers.scores, tokens: count, columns: 1)
      try compute.multiply(gate, normed, into: weights)
      let factors = (0..<count).map {
        Float(1 / (1 + exp(-Double(weights.slice($0).first ?? 0))))
      }
      let made = try make(shared, normed, width: sizes.sharedWidth, buffers)
      for token in 0..<count { sum.add(made, token, times: factors[token], to: token) }
    }
    for token in 0..<count { hidden.add(sum, token, times: 1, to: token) }
  }

  /// What one expert makes of rows, in `buffers.made`.
  private func make(
    _ expert: GatedWeights, _ x: Rows, width: Int, _ buffers: ExpertBuffers
  ) throws(TensorError) -> Rows {
    let gate = try Rows(buffers.gate, tokens: x.tokens, columns: width)
    let up = try Rows(buffers.up, tokens: x.tokens, columns: width)
    let made = try Rows(buffers.made, tokens: x.tokens, columns: x.columns)
    try meter?.willMultiply(x, expert.gate, expert.up)
    try compute.multiplyGated(gate: expert.gate, up: expert.up, x, out: gate, scratch: up)
    try meter?.willMultiply(gate, expert.down)
    try compute.multiply(expert.down, gate, into: made)
    return made
  }

  /// The experts of a token in rising order and their weights: the likeliest by softmax over all, ties to the
  /// lower, made to sum to 1 if the model wants that.
  static func route(_ scores: [Float], _ sizes: ExpertSizes) -> [(expert: Int, weight: Float)] {
    let best = scores.reduce(-Float.infinity) { max($0, $1) }
    // In double, whose last bits differ between processors; those of the float do not.
    let weights = scores.map { Float(exp(Double($0 - best))) }
    let total = weights.reduce(0, +)
    let chosen = scores.indices.sorted {
      scores[$0] > scores[$1] || (scores[$0] == scores[$1] && $0 < $1)
    }.prefix(sizes.perToken).sorted()
    let kept = sizes.normalizes ? chosen.reduce(0) { $0 + weights[$1] } : total
    return chosen.map { ($0, weights[$0] / kept) }
  }
}
