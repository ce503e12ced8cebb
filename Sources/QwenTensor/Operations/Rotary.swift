internal import CQwenKernels
internal import Glibc

/// Which components of a head rotate together.
package enum RotaryPairing: Sendable {
  /// j with j + half, as Qwen and GPT-NeoX.
  case halves
  /// 2j with 2j + 1, as Llama weights lie in GGUF files.
  case pairs
}

/// Inverse frequencies of rotary position embedding and the factor on cosine and sine.
package struct RotaryFrequencies: Sendable, Equatable {
  /// [rotaryDim / 2], in radians a position.
  package let inverse: [Float]
  /// 1 except for YaRN.
  package let factor: Float

  package init(inverse: [Float], factor: Float = 1) {
    self.inverse = inverse
    self.factor = factor
  }

  /// base^(-2j / dim), rounded to float as the reference does. Source: Su et al. 2021, section 3.2.2.
  package init(base: Double, dim: Int) {
    self.init(
      inverse: (0..<dim / 2).map { j in
        1 / Float(pow(base, Double(Float(2 * j) / Float(dim))))
      })
  }
}

/// Cosines and sines of the positions of one step.
@safe
package struct RotaryTable: Sendable {
  let cosine: FloatBuffer
  let sine: FloatBuffer
  let half: Int

  /// Room for `maximumTokens` positions of `half` angles.
  package init(maximumTokens: Int, half: Int) throws(TensorError) {
    cosine = try FloatBuffer(count: max(1, maximumTokens * half))
    sine = try FloatBuffer(count: max(1, maximumTokens * half))
    self.half = half
  }

  /// Fills row `row` for absolute position `position`. The angle is rounded to float before its cosine is
  /// taken, as the reference does.
  package func fill(row: Int, position: Int, _ frequencies: RotaryFrequencies) {
    let count = min(half, frequencies.inverse.count)
    guard row >= 0, (row + 1) * half <= cosine.count else { return }
    for j in 0..<count {
      let angle = Double(Float(position) * frequencies.inverse[j])
      unsafe cosine.pointer[row * half + j] = Float(cos(angle)) * frequencies.factor
      unsafe sine.pointer[row * half + j] = Float(sin(angle)) * frequencies.factor
    }
  }
}
