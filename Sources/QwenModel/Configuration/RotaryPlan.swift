internal import Glibc
package import QwenTensor

/// The angles of one sequence: fixed while its cache holds keys that were rotated by them.
package struct RotaryPlan: Sendable, Equatable {
  package let frequencies: RotaryFrequencies
  /// The alpha of dynamic NTK; 1 where it plays no part.
  package let alpha: Double
  /// From this position on queries are scaled by LogN; nil for never.
  package let logScaleStart: Int?
}

extension ModelConfiguration {
  /// The plan of a sequence whose first prompt has, or which is planned to have, `length` tokens.
  ///
  /// Dynamic NTK takes its alpha from that length once; a cache keeps it, however long it grows.
  package func rotaryPlan(length: Int) -> RotaryPlan {
    let alpha = fixedAlpha ?? (usesDynamicNTK ? dynamicAlpha(length: length) : 1)
    return rotaryPlan(alpha: alpha)
  }

  /// The plan with this alpha.
  package func rotaryPlan(alpha: Double) -> RotaryPlan {
    RotaryPlan(
      frequencies: frequencies(alpha: alpha), alpha: alpha,
      logScaleStart: usesLogN ? trainedLength : nil)
  }

  /// max(2^ceil(log2(L / S) + 1) - 1, 1) for L tokens and a trained length S.
  func dynamicAlpha(length: Int) -> Double {
    guard length > trainedLength else { return 1 }
    let context = log2(Double(length) / Double(trainedLength)) + 1
    return max(exp2(context.rounded(.up)) - 1, 1)
  }

  /// Inverse frequencies after scaling; `alpha` enlarges the base to base * alpha^(D / (D - 2)).
  func frequencies(alpha: Double) -> RotaryFrequencies {
    guard rotaryDim > 2 else { return RotaryFrequencies(base: rotaryBase, dim: rotaryDim) }
    let dim = Double(rotaryDim)
    let base = alpha == 1 ? rotaryBase : rotaryBase * pow(alpha, dim / (dim - 2))
    let plain = RotaryFrequencies(base: base, dim: rotaryDim)
    switch rotaryScaling {
    case .none: return plain
    case .linear(let factor):
      return RotaryFrequencies(inverse: plain.inverse.map { $0 / Float(factor) })
    case .yarn(let yarn): return yarn.frequencies(plain.inverse, base: base, dim: dim)
    }
  }
}

extension RotaryScaling.Yarn {
  /// Source: Peng et al. 2023, equations 17 to 23, with the bounds rounded outwards.
  func frequencies(_ plain: [Float], base: Double, dim: Double) -> RotaryFrequencies {
    func correction(_ rotations: Double) -> Double {
      dim * log(Double(originalLength) / (2 * Double.pi * rotations)) / (2 * log(base))
    }
    let low = max(correction(betaFast).rounded(.down), 0)
    var high = min(correction(betaSlow).rounded(.up), dim - 1)
    if high == low { high += 0.001 }
    let inverse = plain.enumerated().map { j, frequency in
      let ramp = Float(min(max((Double(j) - low) / (high - low), 0), 1))
      return frequency / Float(factor) * ramp + frequency * (1 - ramp)
    }
    let enlarged = factor > 1 ? 0.1 * log(factor) + 1 : 1
    return RotaryFrequencies(inverse: inverse, factor: Float(attentionFactor ?? enlarged))
  }
}
