/// What a session asks for positions beyond the trained length, where it differs from the checkpoint.
package struct LongContext: Sendable, Equatable {
  /// How the rotary base grows.
  package enum NTK: Sendable, Equatable {
    case off
    /// By the length of the prompt, or of all that is planned.
    case dynamic
    /// The same alpha always.
    case fixed(Double)
  }

  /// Which positions a query sees.
  package enum Window: Sendable, Equatable {
    /// All before it.
    case off
    /// So many in every layer.
    case every(Int)
    /// The trained length in the first four layers, twice that in the next four, and so on.
    case graded
  }

  /// nil for what the checkpoint says, here and below.
  package var ntk: NTK?
  package var usesLogN: Bool?
  package var window: Window?
  /// YaRN with this factor over the trained length.
  package var yarnFactor: Double?

  package init() {}
}

extension ModelConfiguration {
  /// The configuration with a session's wishes in force.
  package func with(_ wishes: LongContext) -> ModelConfiguration {
    var changed = self
    switch wishes.ntk {
    case nil: break
    case .off: (changed.usesDynamicNTK, changed.fixedAlpha) = (false, nil)
    case .dynamic: (changed.usesDynamicNTK, changed.fixedAlpha) = (true, nil)
    case .fixed(let alpha): (changed.usesDynamicNTK, changed.fixedAlpha) = (false, alpha)
    }
    if let usesLogN = wishes.usesLogN { changed.usesLogN = usesLogN }
    switch wishes.window {
    case nil: break
    case .off: changed.windows = []
    case .every(let positions): changed.windows = Array(repeating: positions, count: layerCount)
    case .graded:
      changed.windows = (0..<layerCount).map { layer in
        // Beyond 2^40 positions a window is none.
        let (doublings, least) = (layer / 4, trainedLength)
        return doublings < 40 && least < 1 << (40 - doublings) ? least << doublings : nil
      }
    }
    if let factor = wishes.yarnFactor {
      changed.rotaryScaling =
        factor > 1
        ? .yarn(RotaryScaling.Yarn(factor: factor, originalLength: trainedLength)) : .none
    }
    return changed
  }
}
