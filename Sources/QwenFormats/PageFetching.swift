internal import Glibc
internal import Synchronization

extension FileBytes {
  /// Asks for large pages where these regions lie, which will be read from end to end: a file that is not in memory
  /// comes in larger pieces, and later takes fewer entries of the page table. Advice only.
  package static func adviseLargePages(_ regions: [ByteRegion]) {
    for region in regions where region.owner.mode == .map {
      let start = unsafe UInt(bitPattern: region.address)
      let (first, last) = (start & ~4095, start + UInt(region.count))
      _ = unsafe madvise(
        UnsafeMutableRawPointer(bitPattern: first), Int(last - first), MADV_HUGEPAGE)
    }
  }

  /// Runs `body` while a thread of its own enters the pages of `regions`, in their order, into the page table of the
  /// process, so that whoever reads them next finds them there. The thread is gone when this returns or throws,
  /// however far it came. Nothing happens to copied bytes.
  ///
  /// Where the system can't do that, or has no thread, only `body` is run.
  package static func fetchingPages<R, E: Error>(
    of regions: [ByteRegion], while body: () throws(E) -> R
  ) throws(E) -> R {
    let work = PageFetching(regions.filter { $0.owner.mode == .map && $0.count > 0 })
    var thread = pthread_t()
    guard work.start(&thread) else { return try body() }
    defer {
      work.isStopping.store(true, ordering: .relaxed)
      pthread_join(thread, nil)
    }
    return try body()
  }
}

/// What a thread fetches, until it is told to stop.
private final class PageFetching: Sendable {
  private let regions: [ByteRegion]
  let isStopping = Atomic<Bool>(false)

  /// Around a page that is asked for the system enters its neighbours in memory, up to multiples of this: so one of
  /// them is, at half the cost of asking for each.
  private static let step: UInt = 64 << 10
  /// A large page, which is entered as a whole.
  private static let large: UInt = 2 << 20
  /// MADV_POPULATE_READ of Linux 5.14. It fails where touching a page would end the process.
  private static let populate: Int32 = 22

  init(_ regions: [ByteRegion]) { self.regions = regions }

  /// False if there is nothing to fetch, or no thread.
  func start(_ thread: inout pthread_t) -> Bool {
    var attributes = pthread_attr_t()
    guard !regions.isEmpty, unsafe pthread_attr_init(&attributes) == 0 else { return false }
    defer { unsafe pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setstacksize(&attributes, 256 << 10)
    // Signals are the host's.
    var all = sigset_t()
    var before = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_BLOCK, &all, &before)
    defer { unsafe pthread_sigmask(SIG_SETMASK, &before, nil) }
    let context = unsafe Unmanaged.passRetained(self).toOpaque()
    let hasThread = unsafe pthread_create(&thread, &attributes, fetchMain, context) == 0
    if !hasThread { unsafe Unmanaged<PageFetching>.fromOpaque(context).release() }
    return hasThread
  }

  func run() {
    let table = unsafe open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
    defer { if table >= 0 { close(table) } }
    for region in regions {
      let last = unsafe UInt(bitPattern: region.address) + UInt(region.count)
      // Mappings begin with a page.
      var next = unsafe UInt(bitPattern: region.address) & ~4095
      while next < last {
        guard enter(next) else { return }
        let end = min(last, (next / Self.large + 1) * Self.large)
        if end - next <= 2 * Self.step || !isEntered(end - Self.step, table) {
          next = (next / Self.step + 1) * Self.step
          while next < end {
            guard enter(next) else { return }
            next += Self.step
          }
        }
        next = end
      }
    }
  }

  /// Has the page at `address` entered; false if that is to end.
  private func enter(_ address: UInt) -> Bool {
    guard !isStopping.load(ordering: .relaxed) else { return false }
    return unsafe madvise(UnsafeMutableRawPointer(bitPattern: address), 4096, Self.populate) == 0
  }

  /// Whether the page at `address` is in the page table, as `table` tells it in 8 bytes a page.
  private func isEntered(_ address: UInt, _ table: Int32) -> Bool {
    var entry: UInt64 = 0
    guard table >= 0, unsafe pread(table, &entry, 8, Int(address / 4096 * 8)) == 8 else {
      return false
    }
    return entry >> 63 == 1
  }
}

/// Entry of the thread: a top-level function, since a closure would carry isolation checks that trap.
private func fetchMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context = unsafe context else { return nil }
  unsafe Unmanaged<PageFetching>.fromOpaque(context).takeRetainedValue().run()
  return nil
}
