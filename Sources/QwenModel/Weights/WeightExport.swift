package import QwenTensor

/// One tensor of a model that is written to a file.
package struct ExportTensor: Sendable {
  /// Where its values come from.
  package enum Source: Sendable {
    /// Decoded: norms and biases.
    case vector(FloatBuffer)
    /// The rows of these one below the other, all of one width.
    case rows([Piece], part: WeightPart)
    /// Which input each column of another tensor takes: for the tensor `of`, where that is written as stored.
    case order(InputOrder, of: String)
  }

  /// A matrix, and the order of inputs that its columns have if it is not their own.
  package struct Piece: Sendable {
    package let matrix: Matrix
    package let order: InputOrder?
  }

  package let name: String
  /// Sizes, outermost first.
  package let shape: [Int]
  package let source: Source
  /// Heads whose rows come interleaved (j and j + D/2 beside each other); nil for rows as they are.
  package let interleavedHeads: Int?

  init(_ name: String, _ shape: [Int], _ source: Source, interleavedHeads: Int? = nil) {
    self.name = name
    self.shape = shape
    self.source = source
    self.interleavedHeads = interleavedHeads
  }
}

/// The kind of container that tensors are named for.
package enum ExportTarget: Sendable {
  case gguf
  /// A folder as the family's own.
  case folder
}

extension LanguageModel {
  /// Measures how much rounding errors weigh; weights as they lie in the files are asked for.
  ///
  /// Throws `.memory`, `.cancelled` if `progress` returns false.
  package func meter(
    threads: Int, progress: @escaping WeightProgress
  ) throws(TensorError) -> InputMeter {
    try InputMeter(decoder, configuration, threads: threads, progress: progress)
  }

  /// All tensors in the order in which they are written, named and laid out for `target`.
  ///
  /// Throws `.memory`.
  package func export(for target: ExportTarget) throws(TensorError) -> [ExportTensor] {
    let names = TensorNames.names(configuration.family, for: target)
    var exporter = Exporter(configuration: configuration, names: names, target: target)
    exporter.outer(decoder.weights)
    for (index, layer) in decoder.layers.enumerated() {
      try exporter.layer(layer, index)
    }
    return exporter.tensors
  }
}

extension TensorNames {
  /// The names in a container that is written.
  static func names(_ family: ModelFamily, for target: ExportTarget) -> TensorNames {
    switch target {
    case .gguf: gguf
    case .folder: family == .qwen ? firstGeneration : transformers
    }
  }
}

extension Linear {
  fileprivate var piece: ExportTensor.Piece {
    ExportTensor.Piece(matrix: weight, order: order)
  }
}

/// Walks the weights of a decoder.
private struct Exporter {
  let configuration: ModelConfiguration
  let names: TensorNames
  let target: ExportTarget
  var tensors: [ExportTensor] = []

  /// Heads of queries or keys whose rows this container wants interleaved.
  private func interleaving(_ heads: Int) -> Int? {
    target == .gguf && configuration.family == .llama && configuration.rotaryPairing == .halves
      ? heads : nil
  }

  mutating func outer(_ weights: OuterWeights) {
    let embedding = weights.embedding
    add(
      names.embedding + ".weight", [ExportTensor.Piece(matrix: embedding, order: nil)], .embedding)
    vector(names.finalNorm + ".weight", weights.finalNorm)
    let head = weights.head
    // Files of the first family must have a head even where it is the embedding.
    if !weights.isTied || configuration.family == .qwen {
      add(names.head + ".weight", [head.piece], .head)
      order(names.head, head)
    }
  }

  mutating func layer(_ layer: DecoderLayer, _ index: Int) throws(TensorError) {
    let prefix = "\(names.layer)\(index)."
    vector(prefix + names.attentionNorm + ".weight", layer.attentionNorm)
    if configuration.family == .qwen {
      try linears(prefix + names.fused, [layer.query, layer.key, layer.value])
    } else {
      try linears(
        prefix + names.query, [layer.query], heads: interleaving(configuration.queryHeads))
      try linears(prefix + names.key, [layer.key], heads: interleaving(configuration.kvHeads))
      try linears(prefix + names.value, [layer.value])
    }
    if let norms = layer.headNorms {
      vector(prefix + names.queryNorm + ".weight", norms.query)
      vector(prefix + names.keyNorm + ".weight", norms.key)
    }
    try linears(prefix + names.output, [layer.output])
    vector(prefix + names.feedForwardNorm + ".weight", layer.feedForwardNorm)
    switch layer.feedForward {
    case .dense(let gated):
      try linears(prefix + names.gate, [gated.gate])
      try linears(prefix + names.up, [gated.up])
      try linears(prefix + names.down, [gated.down])
    case .experts(let mixture): try experts(mixture, prefix)
    }
  }

  private mutating func experts(
    _ mixture: ExpertWeights, _ prefix: String
  ) throws(TensorError) {
    try linears(prefix + names.router, [mixture.router], part: .router)
    switch target {
    case .gguf:
      guard mixture.experts.allSatisfy({ $0.linears.allSatisfy { $0.bias == nil } }) else {
        throw .shape("experts have biases, which have no place in a stack")
      }
      stacked(prefix + names.gate + "_exps.weight", mixture.experts.map(\.gate.piece))
      stacked(prefix + names.up + "_exps.weight", mixture.experts.map(\.up.piece))
      stacked(prefix + names.down + "_exps.weight", mixture.experts.map(\.down.piece))
    case .folder:
      for (number, expert) in mixture.experts.enumerated() {
        let at = prefix + TensorNames.expertPrefix(number)
        try linears(at + "gate_proj", [expert.gate])
        try linears(at + "up_proj", [expert.up])
        try linears(at + "down_proj", [expert.down])
      }
    }
    if let shared = mixture.shared {
      try linears(prefix + names.sharedExpert.gate, [shared.gate])
      try linears(prefix + names.sharedExpert.up, [shared.up])
      try linears(prefix + names.sharedExpert.down, [shared.down])
    }
    if let gate = mixture.sharedGate {
      let name = prefix + names.sharedGate + ".weight"
      let shape = target == .gguf ? [gate.weight.columns] : [1, gate.weight.columns]
      tensors.append(ExportTensor(name, shape, .rows([gate.piece], part: .router)))
    }
  }

  private mutating func linears(
    _ name: String, _ linears: [Linear], part: WeightPart = .layers, heads: Int? = nil
  ) throws(TensorError) {
    add(name + ".weight", linears.map(\.piece), part, heads: heads)
    order(name, linears[0])
    let biases = linears.compactMap(\.bias)
    guard !biases.isEmpty, biases.count == linears.count else { return }
    if biases.count == 1 { return vector(name + ".bias", biases[0]) }
    vector(name + ".bias", try FloatBuffer(biases.flatMap { $0.array() }))
  }

  private mutating func add(
    _ name: String, _ pieces: [ExportTensor.Piece], _ part: WeightPart, heads: Int? = nil
  ) {
    let rows = pieces.reduce(0) { $0 + $1.matrix.rows }
    let order = pieces[0].order
    // What was one matrix is encoded as one again.
    let whole =
      pieces.allSatisfy { $0.order === order } ? Matrix.joined(pieces.map(\.matrix)) : nil
    let parts = whole.map { [ExportTensor.Piece(matrix: $0, order: order)] } ?? pieces
    tensors.append(
      ExportTensor(
        name, [rows, pieces[0].matrix.columns], .rows(parts, part: part), interleavedHeads: heads))
  }

  private mutating func stacked(_ name: String, _ pieces: [ExportTensor.Piece]) {
    let matrix = pieces[0].matrix
    tensors.append(
      ExportTensor(
        name, [pieces.count, matrix.rows, matrix.columns], .rows(pieces, part: .layers)))
  }

  /// The order of inputs of the layer `name`, if it has one and this container can say so.
  private mutating func order(_ name: String, _ layer: Linear) {
    guard target == .folder, let order = layer.order else { return }
    tensors.append(
      ExportTensor(
        name + TensorNames.order, [order.count], .order(order, of: name + ".weight")))
  }

  private mutating func vector(_ name: String, _ values: FloatBuffer) {
    tensors.append(ExportTensor(name, [values.count], .vector(values)))
  }
}
