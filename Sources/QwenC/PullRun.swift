internal import Glibc
internal import QwenEngine

/// A run on a thread of the library, whose events are taken one by one.
@safe final class PullRun: @unchecked Sendable {
  private var mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private var changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var thread = pthread_t()
  private var isJoined = false
  // Guarded by the mutex.
  private var events: [RunEvent] = []
  private var failure: CallError?
  private var isOver = false
  private var isAbandoned = false
  /// Of the event handed out last, until the next one; touched by the reader only.
  let event = EventBox()

  /// Events that wait; beyond this the run waits for its reader.
  private static let queueLimit = 256

  init() {
    unsafe mutex.initialize(to: pthread_mutex_t())
    unsafe changed.initialize(to: pthread_cond_t())
    unsafe pthread_mutex_init(mutex, nil)
    var attributes = pthread_condattr_t()
    unsafe pthread_condattr_init(&attributes)
    unsafe pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
    unsafe pthread_cond_init(changed, &attributes)
    unsafe pthread_condattr_destroy(&attributes)
  }

  deinit {
    unsafe pthread_cond_destroy(changed)
    unsafe pthread_mutex_destroy(mutex)
    unsafe changed.deallocate()
    unsafe mutex.deallocate()
  }

  /// Starts `run` on a thread of its own, which blocks every signal.
  func start(_ run: Run) throws(CallError) {
    let start = Start(self, run)
    let context = unsafe Unmanaged.passRetained(start).toOpaque()
    var all = sigset_t()
    var before = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
    let status = unsafe pthread_create(&thread, nil, pullThread, context)
    unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
    if status != 0 {
      unsafe Unmanaged<Start>.fromOpaque(context).release()
      isJoined = true
      throw CallError(-3, "no thread could be started (error \(status))")
    }
  }

  /// What the new thread is told.
  final class Start {
    let pull: PullRun
    var run: Run
    init(_ pull: PullRun, _ run: Run) {
      self.pull = pull
      self.run = run
    }
  }

  /// The thread's work.
  func drive(_ run: inout Run) {
    var failure: CallError?
    do {
      while let event = try run.next() {
        if case .done(let result) = event { Metrics.count(result) }
        if !push(event) { break }
      }
    } catch { failure = CallError(error) }
    locked {
      self.failure = failure
      isOver = true
    }
  }

  private func push(_ event: RunEvent) -> Bool {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    while events.count >= Self.queueLimit, !isAbandoned {
      unsafe pthread_cond_wait(changed, mutex)
    }
    events.append(event)
    unsafe pthread_cond_broadcast(changed)
    return !isAbandoned
  }

  private func locked(_ body: () -> Void) {
    unsafe pthread_mutex_lock(mutex)
    body()
    unsafe pthread_cond_broadcast(changed)
    unsafe pthread_mutex_unlock(mutex)
  }

  /// Whether the thread has nothing more to do.
  var isFinished: Bool {
    var over = false
    locked { over = isOver }
    return over
  }

  /// Lets the thread end without a reader.
  func abandon() { locked { isAbandoned = true } }

  /// Waits for the thread.
  func join() {
    guard !isJoined else { return }
    isJoined = true
    pthread_join(thread, nil)
  }

  /// What `next` found.
  enum Next {
    case event(RunEvent), pending, done
  }

  /// The next event, waiting up to `timeout` milliseconds; negative without limit.
  func next(timeout: Int64) throws(CallError) -> Next {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    var limit = timespec()
    if timeout > 0 {
      unsafe clock_gettime(CLOCK_MONOTONIC, &limit)
      let wait = min(timeout, 1 << 40)
      limit.tv_sec += Int(wait / 1000)
      limit.tv_nsec += Int(wait % 1000) * 1_000_000
      if limit.tv_nsec >= 1_000_000_000 {
        limit.tv_sec += 1
        limit.tv_nsec -= 1_000_000_000
      }
    }
    while events.isEmpty, !isOver {
      if timeout == 0 { return .pending }
      if timeout < 0 {
        unsafe pthread_cond_wait(changed, mutex)
      } else if unsafe pthread_cond_timedwait(changed, mutex, &limit) == ETIMEDOUT {
        break
      }
    }
    if !events.isEmpty {
      let event = events.removeFirst()
      unsafe pthread_cond_broadcast(changed)
      if case .done = event {
        // The thread is at its very end: the next call on the session finds it gone.
        while !isOver { unsafe pthread_cond_wait(changed, mutex) }
      }
      return .event(event)
    }
    if !isOver { return .pending }
    if let failure {
      self.failure = nil
      throw failure
    }
    return .done
  }
}

/// Entry of the thread: a top-level function, since a closure would carry isolation checks that trap.
private func pullThread(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let context = unsafe context {
    let start = unsafe Unmanaged<PullRun.Start>.fromOpaque(context).takeRetainedValue()
    start.pull.drive(&start.run)
  }
  return nil
}
