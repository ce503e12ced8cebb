internal import CQwenKernels
internal import Glibc
internal import Synchronization

/// Work that can be split into parts which write to disjoint places.
///
/// What each part computes must not depend on how many parts there are, nor on who does it. Threads borrow the job where
/// its caller holds it: a copy would count references, on cache lines that all of them then fight for.
package protocol ParallelJob: ~Copyable {
  /// Does part `part` of `count`. Must not call back into the pool.
  func run(part: Int, of count: Int)
  /// The same for jobs with memory of their own for each thread: at any time one thread has `slot`, below the number
  /// of threads.
  func run(part: Int, of count: Int, slot: Int)
}

extension ParallelJob where Self: ~Copyable {
  package func run(part: Int, of count: Int, slot: Int) { run(part: part, of: count) }
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
  /// Names that LIBQWEN_ISA may have in the environment, slowest first; nil if it has one of them, or is not set.
  package static var instructionSetsIfUnknown: [String]? {
    guard qk_cpu_asked() < 0 else { return nil }
    return (0..<Int32(QK_ISA_COUNT)).map { unsafe String(cString: qk_cpu_name($0)) }
  }
  /// Threads that can work at once: cores this process may run on, by its affinity mask, and the quota of its control
  /// group; at least 1.
  package static var processorCount: Int {
    let cores = ProcessorTopology.allowedCores
    guard let quota = ControlGroup.processors else { return cores }
    return max(1, min(cores, quota))
  }

  /// Most threads at work, the caller among them; nil for the processors that this process may run on: one more would
  /// only keep another from running, and the others waiting for that one.
  private let fixedLimit: Int?
  /// The limit in force; 0 before it is asked for.
  private var limit = 0
  private let turn: UnsafeMutablePointer<pthread_mutex_t>
  private let leases = Mutex<Int>(0)
  private let shared = SharedState()
  private var threads: [pthread_t] = []

  /// A pool beside the shared one, for tests; it is never freed.
  package init(limit: Int? = nil) {
    fixedLimit = limit
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

  /// Runs all `parts` of a job on up to `threads` threads, this one among them, and returns when all are done; on no
  /// more threads than there are processors for them.
  ///
  /// Each thread has a run of parts of its own and then takes what others have not begun: a helper that the system
  /// keeps from running is not waited for. Only within `exclusive`. Allocates nothing once the threads exist.
  package func run<Job: ParallelJob & ~Copyable>(
    _ job: borrowing Job, parts: Int, threads wanted: Int = .max
  ) {
    let parts = min(max(parts, 1), SharedState.maximumParts)
    var wanted = min(parts, wanted)
    if wanted > threads.count + 1 {
      wanted = min(wanted, mostThreads)
      if wanted > threads.count + 1 { startThreads(wanted - 1) }
    }
    let count = min(wanted, threads.count + 1)
    guard count > 1 else {
      for part in 0..<parts { job.run(part: part, of: parts, slot: 0) }
      return
    }
    unsafe withUnsafePointer(to: job) { pointer in
      unsafe shared.job = UnsafeRawPointer(pointer)
      unsafe shared.runner = JobRunner<Job>.self
      unsafe shared.parts = parts
      let generation = shared.announce(parts: parts, threads: count)
      wakeHelpers()
      shared.work(generation, slot: 0)
      var left = unsafe shared.pending.pointee.load(ordering: .acquiring)
      while left != 0 {
        left = unsafe shared.waitWhile(shared.pending, equals: left)
      }
    }
  }

  /// Threads that a job has at most. Only within `exclusive`.
  package var mostThreads: Int {
    if limit == 0 {
      limit = min(fixedLimit ?? ProcessorTopology.allowedProcessors, Self.maximumThreads)
    }
    return limit
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
        seen: unsafe shared.generation.pointee.load(ordering: .relaxed))
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
    limit = 0
    guard !threads.isEmpty else { return }
    shared.isStopping.store(true, ordering: .relaxed)
    wakeHelpers()
    for thread in threads { _ = pthread_join(thread, nil) }
    threads.removeAll()
    shared.isStopping.store(false, ordering: .relaxed)
  }
}

/// What the caller and its helpers share.
@safe
private final class SharedState: @unchecked Sendable {
  typealias Word = UnsafeMutablePointer<Atomic<UInt32>>
  /// Nanoseconds that a thread spins before it sleeps: longer than the serial stretches between two regions of a token, far
  /// shorter than a time slice lost to a descheduled peer.
  private static let spin: Int64 = 40_000
  /// Looks at the word between two looks at the clock.
  private static let pauses = 16
  /// More parts a job are not told apart.
  static let maximumParts = 0xffff

  /// Counts jobs; helpers sleep on it.
  let generation: Word
  /// Parts of this job that are not done; the caller sleeps on it.
  let pending: Word
  let sleepers: Word
  /// Threads that may work on this job.
  let active = Atomic<Int>(1)
  let isStopping = Atomic<Bool>(false)
  /// The job of this generation, valid until `pending` is 0: read by who has taken a part, since that part is pending.
  nonisolated(unsafe) var job: UnsafeRawPointer?
  nonisolated(unsafe) var runner: (any AnyJobRunner.Type)?
  nonisolated(unsafe) var parts = 1
  /// For each thread the parts that are its own and not begun: generation, next and end in 32, 16 and 16 bits. A
  /// helper that comes late finds another generation and takes nothing.
  private let queues: UnsafeMutableRawPointer
  private static let queueStride = 128

  init() {
    unsafe generation = Self.makeWord()
    unsafe pending = Self.makeWord()
    unsafe sleepers = Self.makeWord()
    unsafe queues = .allocate(
      byteCount: WorkerPool.maximumThreads * Self.queueStride, alignment: Self.queueStride)
    for slot in 0..<WorkerPool.maximumThreads {
      unsafe queue(slot).initialize(to: Atomic<UInt64>(0))
    }
  }

  private func queue(_ slot: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    unsafe (queues + slot * Self.queueStride).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  /// Deals out the parts of the next generation, which it returns.
  func announce(parts: Int, threads: Int) -> UInt32 {
    let next = unsafe generation.pointee.load(ordering: .relaxed) &+ 1
    unsafe pending.pointee.store(UInt32(parts), ordering: .relaxed)
    active.store(threads, ordering: .relaxed)
    for slot in 0..<threads {
      let (first, end) = (parts * slot / threads, parts * (slot + 1) / threads)
      let word = UInt64(next) << 32 | UInt64(first) << 16 | UInt64(end)
      unsafe queue(slot).pointee.store(word, ordering: .releasing)
    }
    return next
  }

  /// Does parts until none is left: those of `slot`, then those of the others.
  func work(_ generation: UInt32, slot: Int) {
    let threads = active.load(ordering: .relaxed)
    guard slot < threads else { return }
    var victim = slot
    for _ in 0..<threads {
      while let part = take(generation, from: victim) {
        if let runner = unsafe runner, let job = unsafe job {
          unsafe runner.run(job, part: part, of: parts, slot: slot)
        }
        let before = unsafe pending.pointee.subtract(1, ordering: .sequentiallyConsistent).oldValue
        if before == 1, slot != 0,
          unsafe sleepers.pointee.load(ordering: .sequentiallyConsistent) != 0
        {
          unsafe qk_futex_wake(pending, 1)
        }
      }
      victim = victim + 1 == threads ? 0 : victim + 1
    }
  }

  private func take(_ generation: UInt32, from slot: Int) -> Int? {
    let queue = unsafe queue(slot)
    var word = unsafe queue.pointee.load(ordering: .acquiring)
    while true {
      let (next, end) = (word >> 16 & 0xffff, word & 0xffff)
      guard UInt32(truncatingIfNeeded: word >> 32) == generation, next < end else { return nil }
      let (taken, now) = unsafe queue.pointee.weakCompareExchange(
        expected: word, desired: word + (1 << 16), ordering: .acquiring)
      if taken { return Int(next) }
      word = now
    }
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
  func waitWhile(_ word: Word, equals value: UInt32) -> UInt32 {
    var end = Int64.max
    while true {
      for _ in 0..<Self.pauses {
        let now = unsafe word.pointee.load(ordering: .acquiring)
        if now != value { return now }
        qk_pause()
      }
      // A pause takes 10 to 140 cycles, so that a number of them says little.
      let now = RunControl.now()
      if now >= end { break }
      if end == Int64.max { end = now + Self.spin }
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
  static func run(_ job: UnsafeRawPointer, part: Int, of count: Int, slot: Int)
}

private enum JobRunner<Job: ParallelJob & ~Copyable>: AnyJobRunner {
  static func run(_ job: UnsafeRawPointer, part: Int, of count: Int, slot: Int) {
    unsafe job.assumingMemoryBound(to: Job.self).pointee.run(part: part, of: count, slot: slot)
  }
}

/// What a new thread is told.
private final class WorkerStart {
  let shared: SharedState
  let index: Int
  let seen: UInt32

  init(shared: SharedState, index: Int, seen: UInt32) {
    self.shared = shared
    self.index = index
    self.seen = seen
  }
}

/// Entry of a helper thread: a top-level function, since a closure would carry isolation checks that trap.
private func workerMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context = unsafe context else { return nil }
  let start = unsafe Unmanaged<WorkerStart>.fromOpaque(context).takeRetainedValue()
  let shared = start.shared
  var seen = start.seen
  while true {
    seen = unsafe shared.waitWhile(shared.generation, equals: seen)
    if shared.isStopping.load(ordering: .relaxed) { return nil }
    shared.work(seen, slot: start.index)
  }
}
