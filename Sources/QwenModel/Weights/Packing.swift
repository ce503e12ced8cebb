internal import QwenTensor

/// Interleaves matrices once they are read, where that makes a model faster.
///
/// The result lies in anonymous memory; pages of a mapped file that were read for it are given back, so that
/// a model is not held twice.
final class WeightPacker: Sendable {
  private let threads: Int
  private let rule: PackingRule?

  /// Packs with `threads` threads what `rule` says; nil leaves every matrix as it lies in its file.
  init(threads: Int, _ rule: PackingRule?) {
    self.threads = threads
    self.rule = rule
    if rule != nil { WorkerPool.shared.retain() }
  }

  deinit {
    if rule != nil { WorkerPool.shared.release() }
  }

  func pack(_ matrix: Matrix) throws(TensorError) -> Matrix {
    guard let rule else { return matrix }
    let packed = try WorkerPool.shared.exclusive { () throws(TensorError) in
      try matrix.packed(threads: threads, rule)
    }
    guard let packed else { return matrix }
    matrix.releasePages(0..<matrix.rows)
    return packed
  }

  func pack(_ linear: Linear) throws(TensorError) -> Linear {
    try Linear(try pack(linear.weight), bias: linear.bias, order: linear.order)
  }

  func pack(_ weights: GatedWeights) throws(TensorError) -> GatedWeights {
    GatedWeights(
      gate: try pack(weights.gate), up: try pack(weights.up), down: try pack(weights.down))
  }

  func pack(_ layer: DecoderLayer) throws(TensorError) -> DecoderLayer {
    guard rule != nil else { return layer }
    return DecoderLayer(
      attentionNorm: layer.attentionNorm, query: try pack(layer.query), key: try pack(layer.key),
      value: try pack(layer.value), headNorms: layer.headNorms, output: try pack(layer.output),
      feedForwardNorm: layer.feedForwardNorm, feedForward: try pack(layer.feedForward))
  }

  func pack(_ feedForward: FeedForward) throws(TensorError) -> FeedForward {
    switch feedForward {
    case .dense(let weights): return .dense(try pack(weights))
    case .experts(let w):
      var experts: [GatedWeights] = []
      for expert in w.experts { experts.append(try pack(expert)) }
      var shared: GatedWeights?
      if let weights = w.shared { shared = try pack(weights) }
      return .experts(
        ExpertWeights(
          router: w.router, experts: experts, shared: shared, sharedGate: w.sharedGate))
    }
  }

  /// A head that is the embedding stays one matrix.
  func pack(_ outer: OuterWeights, isTied: Bool) throws(TensorError) -> OuterWeights {
    let head = try pack(outer.head)
    return OuterWeights(
      embedding: isTied ? head.weight : outer.embedding, finalNorm: outer.finalNorm, head: head)
  }
}
