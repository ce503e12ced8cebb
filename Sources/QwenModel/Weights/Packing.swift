internal import QwenTensor

/// Interleaves matrices once they are read, where that makes a model faster.
///
/// The result lies in anonymous memory; pages of a mapped file that were read for it are given back, so that
/// a model is not held twice.
final class WeightPacker: Sendable {
  private let threads: Int
  private let rule: PackingRule?

  /// Packs with `threads` threads what `rule` says is packed at once; nil leaves every matrix as it lies in its file.
  init(threads: Int, _ rule: PackingRule?) {
    self.threads = threads
    self.rule = rule
    if rule != nil { WorkerPool.shared.retain() }
  }

  deinit {
    if rule != nil { WorkerPool.shared.release() }
  }

  func pack(_ layer: DecoderLayer) throws(TensorError) -> DecoderLayer {
    guard rule != nil else { return layer }
    var packed = try pack(layer.packable)[...]
    return try layer.mapMatrices { (matrix) throws(TensorError) in packed.popFirst() ?? matrix }
  }

  /// A head that is the embedding stays one matrix.
  func pack(_ outer: OuterWeights, isTied: Bool) throws(TensorError) -> OuterWeights {
    guard let head = try pack([outer.head.weight]).first else { return outer }
    return try outer.replacingHead(head, isTied: isTied)
  }

  /// The matrices, those that are packed now in their interleaved form.
  private func pack(_ matrices: [Matrix]) throws(TensorError) -> [Matrix] {
    guard let rule else { return matrices }
    let elsewhere = matrices.filter {
      rule.wants($0.format) && !$0.packsInPlace && !(rule == .whereFaster && $0.isMapped)
    }
    var others = try WorkerPool.shared.exclusive { () throws(TensorError) in
      guard var packing = try MatrixPacking(elsewhere) else { return ArraySlice<Matrix>() }
      while try !packing.advance(threads: threads) {}
      return packing.packed[...]
    }
    for matrix in elsewhere { matrix.releasePages(0..<matrix.rows) }
    var packed: [Matrix] = []
    for matrix in matrices {
      guard rule.wants(matrix.format), !(rule == .whereFaster && matrix.isMapped) else {
        packed.append(matrix)
        continue
      }
      let inPlace = try WorkerPool.shared.exclusive { () throws(TensorError) in
        try matrix.packedInPlace(threads: threads)
      }
      packed.append(inPlace ?? others.popFirst() ?? matrix)
    }
    return packed
  }
}

extension DecoderLayer {
  /// The matrices that may be interleaved, in the order of `mapMatrices`.
  var packable: [Matrix] { linears.map(\.weight) }

  /// The layer with other matrices of the same numbers, biases and orders as they are; routers stay.
  func mapMatrices(
    _ body: (Matrix) throws(TensorError) -> Matrix
  ) throws(TensorError) -> DecoderLayer {
    DecoderLayer(
      attentionNorm: attentionNorm, query: try query.mapMatrix(body),
      key: try key.mapMatrix(body), value: try value.mapMatrix(body), headNorms: headNorms,
      output: try output.mapMatrix(body), feedForwardNorm: feedForwardNorm,
      feedForward: try feedForward.mapMatrices(body))
  }
}

extension FeedForward {
  fileprivate func mapMatrices(
    _ body: (Matrix) throws(TensorError) -> Matrix
  ) throws(TensorError) -> FeedForward {
    switch self {
    case .dense(let weights): return .dense(try weights.mapMatrices(body))
    case .experts(let w):
      var experts: [GatedWeights] = []
      for expert in w.experts { experts.append(try expert.mapMatrices(body)) }
      var shared: GatedWeights?
      if let weights = w.shared { shared = try weights.mapMatrices(body) }
      return .experts(
        ExpertWeights(
          router: w.router, experts: experts, shared: shared, sharedGate: w.sharedGate))
    }
  }
}

extension GatedWeights {
  fileprivate func mapMatrices(
    _ body: (Matrix) throws(TensorError) -> Matrix
  ) throws(TensorError) -> GatedWeights {
    GatedWeights(
      gate: try gate.mapMatrix(body), up: try up.mapMatrix(body), down: try down.mapMatrix(body))
  }
}

extension Linear {
  fileprivate func mapMatrix(
    _ body: (Matrix) throws(TensorError) -> Matrix
  ) throws(TensorError) -> Linear {
    try Linear(try body(weight), bias: bias, order: order)
  }
}

extension OuterWeights {
  /// With another matrix for the head, which is the embedding's too if the two are tied.
  func replacingHead(_ matrix: Matrix, isTied: Bool) throws(TensorError) -> OuterWeights {
    OuterWeights(
      embedding: isTied ? matrix : embedding, finalNorm: finalNorm,
      head: try Linear(matrix, bias: head.bias, order: head.order))
  }
}
