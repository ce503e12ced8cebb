package import QwenTensor

/// The evaluated part of one text: its keys and values, and the angles they were rotated by.
///
/// Positions are absolute. One thread changes it at a time.
package final class Sequence: @unchecked Sendable {
  package let cache: KVCache
  /// Chosen when the first tokens are evaluated, kept until nothing of them is left.
  package private(set) var plan: RotaryPlan?

  package init(cache: KVCache) { self.cache = cache }

  /// Number of evaluated tokens: the position of the next one.
  package var length: Int { cache.length }

  /// Fixes the angles if they are not; `length` is that of the whole first prompt.
  package func begin(_ configuration: ModelConfiguration, promptLength length: Int) {
    if plan == nil { plan = configuration.rotaryPlan(length: length) }
  }

  /// Forgets the tokens from `position` on; the angles too once nothing is left.
  package func truncate(_ position: Int) {
    cache.truncate(position)
    if position <= 0 { plan = nil }
  }

  /// Everything evaluated so far; nothing is copied.
  package var snapshot: Snapshot { Snapshot(cache: cache.snapshot, plan: plan) }

  /// Takes the place of what was evaluated. Throws if the snapshot does not fit the cache.
  package func restore(_ snapshot: Snapshot) throws(TensorError) {
    try cache.restore(snapshot.cache)
    plan = snapshot.plan
  }

  /// A sequence at one moment.
  package struct Snapshot: Sendable {
    package let cache: KVSnapshot
    package let plan: RotaryPlan?

    package init(cache: KVSnapshot, plan: RotaryPlan?) {
      self.cache = cache
      self.plan = plan
    }
  }
}

/// What one step adds to one sequence.
package struct Slice {
  package let sequence: Sequence
  package let tokens: ArraySlice<Int32>

  package init(_ sequence: Sequence, _ tokens: ArraySlice<Int32>) {
    self.sequence = sequence
    self.tokens = tokens
  }
}
