internal import Synchronization
internal import Glibc

/// One run's cancel word and deadline, read between row blocks by every operation.
///
/// `cancel` is one atomic store: any thread, any signal handler.
package final class RunControl: Sendable {
  /// 0 go on, 1 cancelled, 2 past the deadline.
  private let word = Atomic<UInt32>(0)
  private let deadline = Atomic<Int64>(Int64.max)

  package init() {}

  /// Nanoseconds on the monotonic clock.
  package static func now() -> Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
  }

  /// Forgets an earlier cancel; `deadlineMilliseconds` from now on, nil for none.
  package func begin(deadlineMilliseconds: Int?) {
    if let milliseconds = deadlineMilliseconds {
      let (nanoseconds, overflow) = Int64(milliseconds).multipliedReportingOverflow(by: 1_000_000)
      let (moment, later) = Self.now().addingReportingOverflow(nanoseconds)
      deadline.store(overflow || later ? Int64.max : moment, ordering: .relaxed)
    } else {
      deadline.store(Int64.max, ordering: .relaxed)
    }
    word.store(0, ordering: .releasing)
  }

  /// Asks the run to stop at its next row block.
  package func cancel() {
    _ = word.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing)
  }

  /// True once the run should stop; also looks at the clock.
  package var shouldStop: Bool {
    if word.load(ordering: .relaxed) != 0 { return true }
    let limit = deadline.load(ordering: .relaxed)
    if limit != Int64.max, Self.now() >= limit {
      _ = word.compareExchange(expected: 0, desired: 2, ordering: .acquiringAndReleasing)
      return true
    }
    return false
  }

  /// Throws if the run should stop.
  package func check() throws(TensorError) {
    guard shouldStop else { return }
    throw word.load(ordering: .acquiring) == 2 ? .deadline : .cancelled
  }
}
