internal import Glibc
internal import Synchronization

extension FileBytes {
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

  /// Bytes between two looks at `isStopping`: some milliseconds where they come from a slow disk.
  private static let slice = 1 << 20
  /// MADV_POPULATE_READ of Linux 5.14. It fails where touching a page would end the process.
  private static let populate: Int32 = 22

  init(_ regions: [ByteRegion]) { self.regions = regions }

  /// False if there is nothing to fetch, or no thread. The caller keeps this until the thread has ended.
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
    let context = unsafe Unmanaged.passUnretained(self).toOpaque()
    return unsafe pthread_create(&thread, &attributes, fetchMain, context) == 0
  }

  func run() {
    for region in regions {
      let last = unsafe UInt(bitPattern: region.address) + UInt(region.count)
      // Mappings begin with a page.
      var next = unsafe UInt(bitPattern: region.address) & ~4095
      while next < last {
        let count = min(Self.slice, Int(last - next))
        guard !isStopping.load(ordering: .relaxed),
          unsafe madvise(UnsafeMutableRawPointer(bitPattern: next), count, Self.populate) == 0
        else { return }
        next += UInt(count)
      }
    }
  }
}

/// Entry of the thread: a top-level function, since a closure would carry isolation checks that trap.
private func fetchMain(_ context: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let context = unsafe context else { return nil }
  unsafe Unmanaged<PageFetching>.fromOpaque(context).takeUnretainedValue().run()
  return nil
}
