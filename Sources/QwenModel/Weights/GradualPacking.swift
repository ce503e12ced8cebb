internal import QwenTensor
private import Synchronization

/// Interleaves the mapped matrices of a model between the steps of its runs, a layer after the other.
///
/// A file that is mapped is there at once and shared, but its rows are read slower than groups of rows in memory
/// of our own, on large pages. So the first answer begins on the file's pages, and a part of the time of each step goes
/// into making the rest faster; results stay the same to the bit. Ends early where memory gets short.
final class GradualPacking: Sendable {
  /// A layer, or with the number of layers the head.
  private struct Unit {
    let index: Int
    let matrices: [Matrix]
    var packing: MatrixPacking
  }

  private struct State {
    var next = 0
    var unit: Unit?
    /// The last step about a prompt and the last one of an answer.
    var prompt: Pace?
    var answer: Pace?
    var isDone = false

    /// Nanoseconds that a step of so many tokens can spare, by what those before took: half of the time that a prompt
    /// takes, and an eighth of that of an answer, whose tokens somebody may be reading. None before the first step.
    func spare(tokens: Int) -> Int64 {
      let isPrompt = tokens >= GradualPacking.manyTokens
      guard let pace = isPrompt ? prompt ?? answer : answer ?? prompt else { return 0 }
      let time = pace.time / max(1, pace.tokens) * min(Int64(tokens), pace.tokens)
      return isPrompt ? time / 2 : time / 8
    }
  }

  /// Tokens and nanoseconds of a step.
  private struct Pace {
    let tokens: Int64
    let time: Int64
  }

  private let state = Mutex(State())
  private let hasMemory: @Sendable (Int) -> Bool

  /// `hasMemory` says whether so many bytes may be taken now.
  init(hasMemory: @escaping @Sendable (Int) -> Bool) { self.hasMemory = hasMemory }

  /// Whether there is nothing left to do.
  var isDone: Bool { state.withLock { $0.isDone } }

  /// Tokens from which on a step is about a prompt.
  private static let manyTokens = 16

  /// Notes how long a step took.
  func note(tokens: Int, time: Int64) {
    let pace = Pace(tokens: Int64(tokens), time: time)
    state.withLock { state in
      if tokens >= Self.manyTokens { state.prompt = pace } else { state.answer = pace }
    }
  }

  /// Goes on for what a step of `tokens` tokens can spare, less if the run is to stop; returns the decoder with what was
  /// finished, nil for as it is. Call it within `WorkerPool.exclusive`.
  func advance(
    _ decoder: any DecoderFamily, tokens: Int, threads: Int, _ control: RunControl
  ) -> (any DecoderFamily)? {
    state.withLock { state in
      let time = state.spare(tokens: tokens)
      guard !state.isDone, time > 0 else { return nil }
      let end = RunControl.now() + time
      var changed: (any DecoderFamily)?
      do throws(TensorError) {
        repeat {
          let now = changed ?? decoder
          if state.unit == nil { state.unit = try begin(&state, now) }
          guard var unit = state.unit else { break }
          guard try unit.packing.advance(threads: threads) else {
            state.unit = unit
            continue
          }
          state.unit = nil
          changed = try now.replacing(unit.index, unit.packing.packed)
          for matrix in unit.matrices { matrix.releasePages(0..<matrix.rows) }
        } while RunControl.now() < end && !control.shouldStop
      } catch {
        // No memory: what is packed stays, the rest stays mapped.
        state.unit = nil
        state.isDone = true
      }
      return changed
    }
  }

  /// The next unit with something to pack; nil, and it is done, if there is none or no memory for it.
  private func begin(_ state: inout State, _ decoder: any DecoderFamily) throws(TensorError)
    -> Unit?
  {
    if state.next == 0 {
      let all = (0...decoder.layers.count).flatMap { decoder.mappedPackable($0) }
      if !hasMemory(MatrixPacking.byteCount(all) ?? 0) { state.next = Int.max }
    }
    while state.next <= decoder.layers.count {
      let index = state.next
      state.next += 1
      let matrices = decoder.mappedPackable(index)
      guard hasMemory(MatrixPacking.byteCount(matrices) ?? 0) else { break }
      if let packing = try MatrixPacking(matrices) {
        return Unit(index: index, matrices: matrices, packing: packing)
      }
    }
    state.isDone = true
    return nil
  }
}

extension DecoderFamily {
  /// The mapped matrices of a unit that are faster interleaved.
  fileprivate func mappedPackable(_ unit: Int) -> [Matrix] {
    (unit < layers.count ? layers[unit].packable : [weights.head.weight]).filter {
      $0.isPackedLater
    }
  }

  /// The same pass with the matrices of `mappedPackable` replaced.
  fileprivate func replacing(
    _ unit: Int, _ packed: [Matrix]
  ) throws(TensorError) -> any DecoderFamily {
    var packed = packed[...]
    guard unit < layers.count else {
      guard let head = packed.first else { return self }
      return Self(weights: try weights.replacingHead(head, isTied: weights.isTied), layers: layers)
    }
    var layers = layers
    layers[unit] = try layers[unit].mapMatrices { (matrix) throws(TensorError) in
      matrix.isPackedLater ? packed.popFirst() ?? matrix : matrix
    }
    return Self(weights: weights, layers: layers)
  }
}

extension Matrix {
  fileprivate var isPackedLater: Bool { isMapped && PackingRule.whereFaster.wants(format) }
}
