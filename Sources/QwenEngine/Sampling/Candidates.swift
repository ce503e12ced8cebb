internal import Glibc

/// The tokens that may still be drawn, and the filters that leave tokens out.
///
/// A filter sees the probabilities that the filters before it left, renormalised. Formulas are those of the
/// logits processors of transformers.
struct Candidates {
  struct Candidate {
    let id: Int32
    let logit: Float
    /// exp((logit - best) / temperature), not normalised.
    let weight: Double
  }

  private(set) var items: [Candidate] = []
  private var largest: [Float] = []
  /// For filters that sort; keeps its memory.
  private var heap: [Candidate] = []

  /// Sum of the weights.
  var total: Double { items.reduce(0) { $0 + $1.weight } }

  /// Starts from logits; keeps `topK` of them and those as likely as the last, all for 0; none that lies
  /// more than `reach` temperatures below the best.
  mutating func gather(
    _ logits: UnsafeBufferPointer<Float>, best: Float, temperature: Double, topK: Int,
    reach: Double
  ) {
    var least = Float(Double(best) - reach * temperature)
    if topK > 0, topK < logits.count {
      unsafe findLargest(topK, logits, from: least)
      if largest.count == topK { least = max(least, largest[0]) }
    }
    items.removeAll(keepingCapacity: true)
    for index in logits.indices {
      let logit = unsafe logits[index]
      if logit >= least, logit > -.infinity {
        items.append(
          Candidate(
            id: Int32(truncatingIfNeeded: index), logit: logit,
            weight: exp((Double(logit) - Double(best)) / temperature)))
      }
    }
  }

  /// Leaves the `count` largest logits not below `least` in the min-heap `largest`.
  private mutating func findLargest(
    _ count: Int, _ logits: UnsafeBufferPointer<Float>, from least: Float
  ) {
    largest.removeAll(keepingCapacity: true)
    for index in logits.indices {
      let logit = unsafe logits[index]
      if largest.count < count {
        guard logit >= least else { continue }
        largest.append(logit)
        var child = largest.count - 1
        while child > 0, largest[(child - 1) / 2] > largest[child] {
          largest.swapAt(child, (child - 1) / 2)
          child = (child - 1) / 2
        }
      } else if logit > largest[0] {
        largest[0] = logit
        var parent = 0
        while case var child = 2 * parent + 1, child < count {
          if child + 1 < count, largest[child + 1] < largest[child] { child += 1 }
          if largest[parent] <= largest[child] { break }
          largest.swapAt(parent, child)
          parent = child
        }
      }
    }
  }

  /// Keeps the fewest tokens whose probabilities reach `mass`, at least one.
  mutating func keepTop(mass: Double) {
    let wanted = mass * total
    swap(&heap, &items)
    items.removeAll(keepingCapacity: true)
    for parent in stride(from: heap.count / 2 - 1, through: 0, by: -1) {
      Self.sink(&heap, parent)
    }
    var sum = 0.0
    while let best = heap.first, items.isEmpty || sum < wanted {
      items.append(best)
      sum += best.weight
      heap.swapAt(0, heap.count - 1)
      heap.removeLast()
      Self.sink(&heap, 0)
    }
  }

  /// Restores the order of a heap whose likeliest token, of equals the one of lowest id, comes first.
  private static func sink(_ heap: inout [Candidate], _ start: Int) {
    func precedes(_ a: Candidate, _ b: Candidate) -> Bool {
      a.logit > b.logit || (a.logit == b.logit && a.id < b.id)
    }
    var parent = start
    while case var child = 2 * parent + 1, child < heap.count {
      if child + 1 < heap.count, precedes(heap[child + 1], heap[child]) { child += 1 }
      if precedes(heap[parent], heap[child]) { break }
      heap.swapAt(parent, child)
      parent = child
    }
  }

  /// Keeps tokens at least `fraction` times as likely as the likeliest.
  mutating func keep(fractionOfBest fraction: Double) {
    let best = items.reduce(0) { max($0, $1.weight) }
    items.removeAll { $0.weight < fraction * best }
  }

  /// Keeps tokens whose surprise is nearest to the expected one until their probabilities reach `mass`.
  mutating func keepTypical(mass: Double) {
    let total = self.total
    let entropy = self.entropy
    func distance(_ item: Candidate) -> Double { abs(-log(item.weight / total) - entropy) }
    let sorted = items.map { ($0, distance($0)) }.sorted {
      $0.1 < $1.1 || ($0.1 == $1.1 && $0.0.id < $1.0.id)
    }
    var sum = 0.0
    for (item, distance) in sorted {
      sum += item.weight
      if sum >= mass * total {
        items = sorted.prefix { $0.1 <= distance }.map(\.0)
        return
      }
    }
  }

  /// Keeps tokens of at least this probability, and the likeliest.
  mutating func keep(probability: Double) {
    let least = probability * total
    let best = items.reduce(0) { max($0, $1.weight) }
    items.removeAll { $0.weight < least && $0.weight < best }
  }

  /// Keeps tokens of at least min(epsilon, sqrt(epsilon) exp(-entropy)), and the likeliest.
  mutating func keepEta(_ epsilon: Double) {
    keep(probability: min(epsilon, epsilon.squareRoot() * exp(-entropy)))
  }

  /// Leaves out all tokens that reach `threshold` but the least likely of them.
  mutating func excludeTop(threshold: Double) {
    let least = threshold * total
    guard let last = items.filter({ $0.weight >= least }).min(by: { $0.weight < $1.weight }) else {
      return
    }
    items.removeAll { $0.weight >= least && $0.id != last.id }
  }

  /// Keeps tokens whose surprise in bits is at most `bits`, and the likeliest.
  mutating func keep(surprise bits: Double) { keep(probability: exp2(-bits)) }

  /// In nats.
  private var entropy: Double {
    let total = self.total
    return -items.reduce(0) { sum, item in
      let p = item.weight / total
      return p > 0 ? sum + p * log(p) : sum
    }
  }
}
