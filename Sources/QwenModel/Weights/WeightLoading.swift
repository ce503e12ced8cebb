internal import QwenFormats
internal import QwenTensor

/// Brings the matrices of one load into the formats of a policy and says how far it is.
///
/// Used by the thread that loads.
final class WeightLoading {
  let policy: WeightPolicy
  /// How many of them work at once.
  let threads: Int
  let packer: WeightPacker
  private let converter: Converter
  private let progress: WeightProgress?
  private let totalBytes: Int
  private var doneBytes = 0
  /// Knows how much errors in columns weigh, where encoders ask for that.
  private var meter: InputMeter?

  /// `totalBytes` of tensors are what `progress` counts.
  init(_ policy: WeightPolicy, threads: Int, totalBytes: Int, progress: WeightProgress?) {
    self.policy = policy
    self.threads = threads
    packer = WeightPacker(threads: threads, policy.packing)
    converter = Converter(threads: threads, effort: policy.effort)
    self.progress = progress
    self.totalBytes = max(1, totalBytes)
  }

  /// Whether this, and not the number of layers, says how far the load is.
  var reports: Bool { policy.isActive }

  /// The weights of `stored`, which are as they lie in the files, as the policy wants them.
  ///
  /// Throws `FormatError` naming the part of `path` that failed.
  func prepare(
    _ stored: any DecoderFamily, _ configuration: ModelConfiguration, path: String
  ) throws(FormatError) -> any DecoderFamily {
    var what = "the forward pass that measures activations"
    do {
      if usesImportance {
        meter = try InputMeter(stored, configuration, threads: threads) { _ in
          self.progress?(0) ?? true
        }
      }
      what = "the output head"
      let weights = try prepare(stored.weights)
      var layers: [DecoderLayer] = []
      for (index, layer) in stored.layers.enumerated() {
        what = "layer \(index)"
        let prepared = try prepare(layer, isFused: configuration.family == .qwen)
        layers.append(try packer.pack(prepared))
        if !reports, let progress, !progress(Double(index + 1) / Double(stored.layers.count)) {
          throw TensorError.cancelled
        }
      }
      return type(of: stored).init(weights: weights, layers: layers)
    } catch let error as TensorError {
      throw FormatError(error, path: path, what: what)
    } catch {
      throw FormatError(.malformed, path: path, "\(what): \(error)")
    }
  }

  private var usesImportance: Bool {
    policy.effort == .best
      && [policy.layers, policy.head].contains { $0?.usesImportance ?? false }
  }

  /// `linear` as the policy wants it, its columns at the places of their inputs if it is converted.
  private func prepare(_ linear: Linear, _ part: WeightPart) throws(TensorError) -> Linear {
    let matrix = linear.weight
    let format = policy.format(part, stored: matrix.format, columns: matrix.columns)
    guard isConverted(matrix, to: format) else {
      try finish(matrix)
      return linear
    }
    let weight = try converter.convert(
      matrix, order: linear.order, to: format, importance: try meter?.importance(matrix)
    ) { self.isGoingOn($0) }
    // What was only copied has its order still.
    let order = format.name == matrix.format.name ? linear.order : nil
    return try Linear(weight, bias: linear.bias, order: order)
  }

  private func isConverted(_ matrix: Matrix, to format: StorageFormat) -> Bool {
    format.name != matrix.format.name || policy.copiesStored && matrix.isMapped
  }

  /// Rows that are made on demand are made now, unless they are only gone through once.
  private func finish(_ matrix: Matrix) throws(TensorError) {
    let step = Converter.slabRows(columns: matrix.columns)
    if !policy.defersForeign, matrix.isDeferred {
      for first in stride(from: 0, to: matrix.rows, by: step) {
        try matrix.rows(first..<min(first + step, matrix.rows)).fetchPages(threads: threads)
      }
    }
    if reports, !isGoingOn(matrix.byteCount) { throw .cancelled }
  }

  private func isGoingOn(_ bytes: Int) -> Bool {
    doneBytes = min(totalBytes, doneBytes + bytes)
    return progress?(Double(doneBytes) / Double(totalBytes)) ?? true
  }
}

extension WeightLoading {
  /// A tied head is made from the embedding where the two have different formats.
  private func prepare(_ outer: OuterWeights) throws(TensorError) -> OuterWeights {
    let embedding = outer.embedding
    let isShared =
      outer.isTied && policy.sharesTiedHead(of: embedding.columns, stored: embedding.format)
    let first = try prepare(try Linear(embedding), .embedding)
    let head = isShared ? first : try prepare(outer.head, .head)
    return try packer.pack(
      OuterWeights(embedding: first.weight, finalNorm: outer.finalNorm, head: head),
      isTied: isShared)
  }

  private func prepare(_ layer: DecoderLayer, isFused: Bool) throws(TensorError) -> DecoderLayer {
    let attention = try prepare([layer.query, layer.key, layer.value], isFused: isFused)
    return DecoderLayer(
      attentionNorm: layer.attentionNorm, query: attention[0], key: attention[1],
      value: attention[2], headNorms: layer.headNorms,
      output: try prepare(layer.output, .layers), feedForwardNorm: layer.feedForwardNorm,
      feedForward: try prepare(layer.feedForward))
  }

  private func prepare(_ feedForward: FeedForward) throws(TensorError) -> FeedForward {
    switch feedForward {
    case .dense(let gated): return .dense(try prepare(gated))
    case .experts(let mixture):
      var experts: [GatedWeights] = []
      for expert in mixture.experts { experts.append(try prepare(expert)) }
      return .experts(
        ExpertWeights(
          router: try prepare(mixture.router, .router), experts: experts,
          shared: try mixture.shared.map { (part) throws(TensorError) in try prepare(part) },
          sharedGate: try mixture.sharedGate.map { (part) throws(TensorError) in
            try prepare(part, .router)
          }))
    }
  }

  private func prepare(_ gated: GatedWeights) throws(TensorError) -> GatedWeights {
    GatedWeights(
      gate: try prepare(gated.gate, .layers), up: try prepare(gated.up, .layers),
      down: try prepare(gated.down, .layers))
  }

  /// Queries, keys and values; where they are rows of one matrix they are converted as one, since some formats are
  /// made of a whole matrix.
  private func prepare(_ linears: [Linear], isFused: Bool) throws(TensorError) -> [Linear] {
    guard isFused, linears.allSatisfy({ $0.order === linears[0].order }),
      let whole = Matrix.joined(linears.map(\.weight))
    else {
      var prepared: [Linear] = []
      for linear in linears { prepared.append(try prepare(linear, .layers)) }
      return prepared
    }
    let joined = try prepare(try Linear(whole, order: linears[0].order), .layers)
    var first = 0
    var parts: [Linear] = []
    for linear in linears {
      let rows = first..<first + linear.weight.rows
      let weight = try joined.weight.rows(rows)
      parts.append(try Linear(weight, bias: linear.bias, order: joined.order))
      first = rows.upperBound
    }
    return parts
  }
}

extension FileBytes: PageOwner {
  package var isMapped: Bool { mode == .map }
}
