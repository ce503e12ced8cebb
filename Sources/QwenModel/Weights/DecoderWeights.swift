internal import QwenFormats
package import QwenTensor

/// Weights of one decoder layer, in the form all families share once read.
package struct DecoderLayer: Sendable {
  package let attentionNorm: FloatBuffer
  package let query: Linear
  package let key: Linear
  package let value: Linear
  /// Norms over each head of queries and keys, where the family has them.
  package let headNorms: HeadNorms?
  package let output: Linear
  package let feedForwardNorm: FloatBuffer
  package let feedForward: FeedForward
}

extension DecoderLayer {
  /// Every matrix of the layer that a policy for layers is about.
  var linears: [Linear] { [query, key, value, output] + feedForward.linears }
}

/// Weights outside the layers.
package struct OuterWeights: Sendable {
  /// [V, H].
  package let embedding: Matrix
  package let finalNorm: FloatBuffer
  /// [V, H]; the embedding itself if tied.
  package let head: Linear

  /// Whether the head is the embedding.
  var isTied: Bool { unsafe head.weight.address == embedding.address }
}

/// Which layer is read.
struct LayerName {
  let index: Int
  /// Put before the names of its tensors.
  let prefix: String
}

/// Reads the tensors of one checkpoint by the names of its family and container.
struct WeightReader {
  let source: WeightSource
  let names: TensorNames
  let configuration: ModelConfiguration

  init(_ archive: TensorArchive, _ configuration: ModelConfiguration) {
    source = WeightSource(
      archive: archive,
      foreign: ForeignWeights(archive: archive, facts: configuration.quantization))
    names = TensorNames.find(configuration.family, in: archive)
    self.configuration = configuration
  }

  /// Embedding, last norm and head; a tied head, or one that a file leaves out as tied, is the embedding.
  func outer() throws(FormatError) -> OuterWeights {
    let (rows, columns) = (configuration.vocabularyRows, configuration.hiddenSize)
    let embedding = try source.matrix(names.embedding + ".weight", rows: rows, columns: columns)
    let norm = try source.vector(names.finalNorm + ".weight", count: columns)
    let hasHead = source.has(names.head + ".weight") || source.has(names.head + ".qweight")
    let isTied = configuration.isTied || !hasHead
    if isTied, !configuration.isTied, configuration.family == .qwen {
      throw FormatError(
        .malformed, path: source.archive.path, "has no tensor \"\(names.head).weight\"",
        hint: "a shard is missing")
    }
    do {
      let head =
        try isTied
        ? Linear(embedding) : source.linear(names.head, rows: rows, columns: columns)
      return OuterWeights(embedding: embedding, finalNorm: norm, head: head)
    } catch let error as TensorError {
      throw FormatError(error, path: source.archive.path, what: "the output head")
    } catch let error as FormatError {
      throw error
    } catch {
      throw FormatError(.malformed, path: source.archive.path, "the output head: \(error)")
    }
  }

  /// Every layer, read by `body` with the prefix of its names.
  func layers(
    _ body: (LayerName) throws(FormatError) -> DecoderLayer
  ) throws(FormatError) -> [DecoderLayer] {
    var layers: [DecoderLayer] = []
    for index in 0..<configuration.layerCount {
      layers.append(try body(LayerName(index: index, prefix: "\(names.layer)\(index).")))
    }
    return layers
  }

  /// Attention and feed-forward norms, output, gate, up and down projection, alike in all families.
  func layer(
    _ name: LayerName, query: Linear, key: Linear, value: Linear, headNorms: HeadNorms? = nil
  ) throws(FormatError) -> DecoderLayer {
    let (c, prefix) = (configuration, name.prefix)
    return DecoderLayer(
      attentionNorm: try source.vector(
        prefix + names.attentionNorm + ".weight", count: c.hiddenSize),
      query: query, key: key, value: value, headNorms: headNorms,
      output: try source.linear(
        prefix + names.output, rows: c.hiddenSize, columns: c.queryHeads * c.headDim,
        bias: .never),
      feedForwardNorm: try source.vector(
        prefix + names.feedForwardNorm + ".weight", count: c.hiddenSize),
      feedForward: try feedForward(prefix, layer: name.index))
  }

  /// Separate projections of queries, keys and values.
  func projections(
    _ layer: LayerName, bias: WeightSource.Bias
  ) throws(FormatError) -> (query: Linear, key: Linear, value: Linear) {
    let c = configuration
    let (q, kv) = (c.queryHeads * c.headDim, c.kvHeads * c.headDim)
    let query = try source.linear(
      layer.prefix + names.query, rows: q, columns: c.hiddenSize, bias: bias)
    let key = try source.linear(
      layer.prefix + names.key, rows: kv, columns: c.hiddenSize, bias: bias)
    let value = try source.linear(
      layer.prefix + names.value, rows: kv, columns: c.hiddenSize, bias: bias)
    return (query, try source.sharing(key, query), try source.sharing(value, query))
  }

  /// One matrix whose rows are queries, keys and values, taken apart without a copy.
  func fusedProjections(
    _ layer: LayerName
  ) throws(FormatError) -> (query: Linear, key: Linear, value: Linear) {
    let c = configuration
    let (q, kv) = (c.queryHeads * c.headDim, c.kvHeads * c.headDim)
    let name = layer.prefix + names.fused
    let fused = try source.linear(name, rows: q + 2 * kv, columns: c.hiddenSize, bias: .always)
    do {
      func part(_ rows: Range<Int>) throws(TensorError) -> Linear {
        let bias = try fused.bias?.copy(rows)
        return try Linear(try fused.weight.rows(rows), bias: bias, order: fused.order)
      }
      return (try part(0..<q), try part(q..<q + kv), try part(q + kv..<q + 2 * kv))
    } catch {
      throw FormatError(error, path: source.archive.path, what: "tensor \"\(escaped(name))\"")
    }
  }

  /// The norms over each head of queries and keys.
  func headNorms(_ layer: LayerName) throws(FormatError) -> HeadNorms {
    HeadNorms(
      query: try source.vector(
        layer.prefix + names.queryNorm + ".weight", count: configuration.headDim),
      key: try source.vector(
        layer.prefix + names.keyNorm + ".weight", count: configuration.headDim),
      epsilon: configuration.normEpsilon)
  }
}

/// Called with the fraction of the weights that is ready; false stops the load.
package typealias WeightProgress = (Double) -> Bool
