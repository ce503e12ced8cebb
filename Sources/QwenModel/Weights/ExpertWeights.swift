internal import QwenFormats
package import QwenTensor

/// A gated MLP: down(silu(gate(x)) * up(x)).
package struct GatedWeights: Sendable {
  package let gate: Linear
  package let up: Linear
  package let down: Linear
}

/// What stands behind the second norm of a layer.
package enum FeedForward: Sendable {
  case dense(GatedWeights)
  case experts(ExpertWeights)
}

extension FeedForward {
  /// Its matrices, those of all experts included, without what chooses among them.
  var linears: [Linear] {
    switch self {
    case .dense(let gated): gated.linears
    case .experts(let mixture):
      mixture.experts.flatMap(\.linears) + (mixture.shared?.linears ?? [])
    }
  }

  /// What chooses and weighs experts.
  var routers: [Linear] {
    guard case .experts(let mixture) = self else { return [] }
    return [mixture.router] + (mixture.sharedGate.map { [$0] } ?? [])
  }
}

extension GatedWeights {
  var linears: [Linear] { [gate, up, down] }
}

/// A mixture of experts: a router chooses some for each token; a shared one may see all tokens.
package struct ExpertWeights: Sendable {
  /// [E, H].
  package let router: Linear
  package let experts: [GatedWeights]
  package let shared: GatedWeights?
  /// [1, H]: its sigmoid weighs the shared expert.
  package let sharedGate: Linear?
}

extension WeightReader {
  /// The feed-forward part of a layer: dense, or a mixture where the configuration says so.
  func feedForward(_ prefix: String, layer: Int) throws(FormatError) -> FeedForward {
    let c = configuration
    guard let sizes = c.experts, sizes.isSparse(layer: layer) else {
      return .dense(
        try gated(
          (prefix + names.gate, prefix + names.up, prefix + names.down), width: c.intermediateSize))
    }
    var experts: [GatedWeights] = []
    if source.has(prefix + names.gate + "_exps.weight") {
      let (i, h) = (sizes.width, c.hiddenSize)
      let gates = try stacked(prefix + names.gate + "_exps", sizes.count, rows: i, columns: h)
      let ups = try stacked(prefix + names.up + "_exps", sizes.count, rows: i, columns: h)
      let downs = try stacked(prefix + names.down + "_exps", sizes.count, rows: h, columns: i)
      for ((gate, up), down) in zip(zip(gates, ups), downs) {
        experts.append(GatedWeights(gate: gate, up: up, down: down))
      }
    } else {
      for expert in 0..<sizes.count {
        let at = prefix + TensorNames.expertPrefix(expert)
        experts.append(
          try gated((at + "gate_proj", at + "up_proj", at + "down_proj"), width: sizes.width))
      }
    }
    var shared: GatedWeights?
    var sharedGate: Linear?
    if sizes.sharedWidth > 0 {
      let part = names.sharedExpert
      shared = try gated(
        (prefix + part.gate, prefix + part.up, prefix + part.down), width: sizes.sharedWidth)
      sharedGate = try source.row(prefix + names.sharedGate, columns: c.hiddenSize)
    }
    return .experts(
      ExpertWeights(
        router: try source.linear(
          prefix + names.router, rows: sizes.count, columns: c.hiddenSize),
        experts: experts, shared: shared, sharedGate: sharedGate))
  }

  private func gated(
    _ names: (gate: String, up: String, down: String), width: Int
  ) throws(FormatError) -> GatedWeights {
    let hidden = configuration.hiddenSize
    let gate = try source.linear(names.gate, rows: width, columns: hidden)
    let up = try source.linear(names.up, rows: width, columns: hidden)
    return GatedWeights(
      gate: gate, up: try source.sharing(up, gate),
      down: try source.linear(names.down, rows: hidden, columns: width))
  }

  /// The matrices of all experts in one tensor [E, rows, columns], taken apart without a copy.
  private func stacked(
    _ name: String, _ count: Int, rows: Int, columns: Int
  ) throws(FormatError) -> [Linear] {
    let whole = try source.matrices(name + ".weight", count: count, rows: rows, columns: columns)
    do {
      var parts: [Linear] = []
      for expert in 0..<count {
        parts.append(try Linear(try whole.rows(expert * rows..<(expert + 1) * rows)))
      }
      return parts
    } catch {
      throw FormatError(error, path: source.archive.path, what: "tensor \"\(escaped(name))\"")
    }
  }
}
