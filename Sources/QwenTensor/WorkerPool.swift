internal import CQwenKernels
internal import Glibc
internal import Synchronization

/// Work that can be split into parts which write to disjoint places.
///
/// What each part computes must not depend on how many parts there are.
package protocol ParallelJob {
  /// Does part `part` of `count`. Must not call back into the pool.
  func run(part: Int, of count: Int)
}

/// The process's helper threads: they spin briefly for work, then sleep in the kernel.
///
/// One caller at a time is served (`exclusive`). No thread exists before the first job that wants one, and
/// none after the last lease is returned. Threads block all signals. Sleeping threads cost no time.
@safe
package final class WorkerPool: @unchecked Sendable {
  /// The one pool of the process.
  package static let shared = WorkerPool()
  /// More threads than this are never started.
  package static let maximumThreads = 256
  /// Name of the instruction set that kernels use.
  package static var instructionSet: String {
    unsafe String(cString: qk_cpu_name(qk_cpu_isa()))
  }
  /// Processors this process may run on, by its affinity mask and by the quota of its control group; at least 1.
  package static var processorCount: Int {
    let allowed = max(1, Int(qk_processor_count()))
    guard let quota = ControlGroup.processors else { return allowed }
    return max(1, min(allowed, quota))
  }

  /// How long a thread spins before it sleeps: about 20 microseconds, longer than the serial stretches
  /// between two regions of a token, far shorter than a time slice lost to a descheduled peer.
  private static let spins = 2000

  private let turn: UnsafeMutablePointer<pthread_mutex_t>
  private let leases = Mutex<Int>(0)
  private let shared = SharedState()
  private var threads: [pthread_t] = []

  private init() {
    unsafe turn = .allocate(capacity: 1)
    unsafe pthread_mutex_init(turn, nil)
  }

  /// Announces a user of the pool; each call is paired with one `release`.
  package func retain() {
    leases.withLock { $0 += 1 }
  }

  /// Ends one `retain`; the last one ends the threads and waits for them.
  package func release() {
    let left = leases.withLock { count in
      count -= 1
      return count
    }
    if left == 0 { exclusive { stopThreads() } }
  }

  /// Runs `body` while no other caller uses the pool: one forward pass at a time.
  package func exclusive<R, E>(_ body: () throws(E) -> R) throws(E) -> R {
    unsafe pthread_mutex_lock(turn)
    defer { unsafe pthread_mutex_unlock(turn) }
    return try body()
  }

  /// Runs all `parts` of a job, part 0 on the calling thread, and returns when all are done.
  ///
  /// Only within `exclusive`. Allocates nothing once the threads exist.
  package func run<Job: ParallelJob>(_ job: Job, parts: Int) {
    let wanted = min(max(parts, 1), Self.maximumThreads)
    if wanted > threads.count + 1 { startThreads(wanted - 1) }
    let count = min(wanted, threads.count + 1)
    guard count > 1 else { return job.run(part: 0, of: 1) }
    unsafe withUnsafePointer(to: job) { pointer in
      unsafe shared.job = UnsafeRawPointer(pointer)
      unsafe shared.runner = JobRunner<Job>.self
      unsafe shared.parts = count
      unsafe shared.pending.pointee.store(UInt32(threads.count), ordering: .relaxed)
      wakeHelpers()
      unsafe pointer.pointee.run(part: 0, of: count)
      var left = unsafe shared.pending.pointee.load(ordering: .acquiring)
      while left != 0 {
        left = unsafe shared.waitWhile(shared.pending, equals: left, spins: Self.spins)
      }
    }
  }

  private func wakeHelpers() {
    unsafe shared.generation.pointee.add(1, ordering: .sequentiallyConsistent)
    if unsafe shared.sleepers.pointee.load(ordering: .sequentiallyConsistent) != 0 {
      unsafe qk_futex_wake(shared.generation, Int32.max)
    }
  }

  private func startThreads(_ wanted: Int) {
    var attributes = pthread_attr_t()
    guard unsafe pthread_attr_init(&attributes) == 0 else { return }
    unsafe pthread_attr_setstacksize(&attributes, 1 << 20)
    var all = sigset_t()
    var before = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_BLOCK, &all, &before)
    while threads.count < wanted {
      var thread = pthread_t()
      let start = WorkerStart(
        shared: shared, index: threads.count + 1,
        seen: unsafe shared.generation.pointee.load(ordering: .relaxed), spins: Self.spins)
      let context = unsafe Unmanaged.passRetained(start).toOpaque()
      guard unsafe pthread_create(&thread, &attributes, workerMain, context) == 0 else {
        unsafe Unmanaged<WorkerStart>.fromOpaque(context).release()
        break
      }
      threads.append(thread)
    }
    unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
    unsafe pthread_attr_destroy(&attributes)
  }

  private func stopThreads() {
    guard !threads.isEmpty else { return }
    unsafe shared.runner = nil
    wakeHelpers()
    for thread in threads { _ = pthread_join(thread, nil) }
    threads.removeAll()
  }
}

/// What the caller and its helpers share.
@safe
private final class SharedState: @unchecked Sendable {
  typealias Word = UnsafeMutablePointer<Atomic<UInt32>>

  /// Counts jobs; helpers sleep on it.
  let generation: Word
  /// Helpers that have not finished this job; the caller sleeps on it.
  let pending: Word
  let sleepers: Word
  /// The job of this generation, valid until `pending` is 0; no runner: the threads end.
  nonisolated(unsafe) var job: UnsafeRawPointer?
  nonisolated(unsafe) var runner: (any AnyJobRunner.Type)?
  nonisolated(unsafe) var parts = 1

  init() {
    unsafe generation = Self.makeWord()
    unsafe pending = Self.makeWord()
    unsafe sleepers = Self.makeWord()
  }

  /// A word on a pair of cache lines of its own (neighbouring lines are fetched in pairs). The pool lives
  /// as long as the process, so nothing frees it.
  private static func makeWord() -> Word {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 128, alignment: 128)
    let word = unsafe memory.bindMemory(to: Atomic<UInt32>.self, capacity: 1)
    unsafe word.initialize(to: Atomic<UInt32>(0))
    return unsafe word
  }

  /// Waits until `word` differs from `value`: spins, then sleeps.
  func waitWhile(_ word: Word, equals value: UInt32, spins: Int) -> UInt32 {
    for _ in 0..<spins {
      let now = unsafe word.pointee.load(ordering: .acquiring)
      if now != value { return now }
      qk_pause()
    }
    unsafe sleepers.pointee.add(1, ordering: .sequentiallyConsistent)
    defer { unsafe sleepers.pointee.subtract(1, ordering: .sequentiallyConsistent) }
    while true {
      let now = unsafe word.pointee.load(ordering: .sequentiallyConsistent)
      if now != value { return now }
      unsafe qk_futex_wait(word, value, -1)
    }
  }
}

/// Calls a job of a known type through a raw pointer: a metatype costs no allocation, a closure would.
private protocol AnyJobRunner {
  static func run(_ job: UnsafeRawPointer, part: Int, of count: Int)
}

private enum JobRunner<Job: ParallelJob>: AnyJobRunner {
  static func run(_ job: UnsafeRawPointer, part: Int, of count: Int) {
    unsafe job.assumingMemoryBound(to: Job.self).pointee.run(part: part, of: count)
  }
}

/// What a new thread is told.
private final class WorkerStart {
  let shared: SharedState
  let index: Int
  let seen: UInt32
  let spins: Int

  init(shared: SharedState, index: Int, seen: UInt32, spins: Int) {
    self.shared = shared
    self.index = index
    self.seen = seen
    self.spins = spins
  }
}

/// Entry of a helper thread: a top-level function, since a closure would carry isolation checks that trap.
private func workerMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context = unsafe context else { return nil }
  let start = unsafe Unmanaged<WorkerStart>.fromOpaque(context).takeRetainedValue()
  let shared = start.shared
  var seen = start.seen
  while true {
    seen = unsafe shared.waitWhile(shared.generation, equals: seen, spins: start.spins)
    guard let runner = unsafe shared.runner, let job = unsafe shared.job else { return nil }
    if unsafe start.index < shared.parts {
      unsafe runner.run(job, part: start.index, of: shared.parts)
    }
    let before = unsafe shared.pending.pointee.subtract(1, ordering: .acquiringAndReleasing)
      .oldValue
    if before == 1 { unsafe qk_futex_wake(shared.pending, 1) }
  }
}
