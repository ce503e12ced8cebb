import Glibc
import Testing

@testable import QwenFormats

/// Pages of a mapped file that come while something else is done.
@Suite struct PageFetchingTests {
  let temporary: TemporaryFolder

  init() throws { temporary = try TemporaryFolder() }

  private func mapped(_ count: Int) throws -> FileBytes {
    try temporary.write("pages", [UInt8](repeating: 7, count: count))
    return try FileBytes(path: temporary.path + "/pages", mode: .map)
  }

  /// Bytes of the file's mapping that are in the page table.
  private func resident() throws -> Int {
    let file = try #require(fopen("/proc/self/smaps", "r"))
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 4096)
    var (isOurs, sum) = (false, 0)
    while let start = fgets(&line, Int32(line.count), file) {
      let text = String(cString: start)
      if text.contains("-"), text.contains(" r--p ") || text.contains(" rw-p ") {
        isOurs = text.contains(temporary.path)
      } else if isOurs, text.hasPrefix("Rss:") {
        sum += Int(text.dropFirst(4).drop { $0 == " " }.prefix { $0.isNumber }) ?? 0
      }
    }
    return sum * 1024
  }

  @Test func `come to the regions that are asked for and to no others`() throws {
    let file = try mapped(8 << 20)
    let first = try file.region(offset: 100, count: 3 << 20)
    let last = try file.region(offset: 6 << 20, count: (2 << 20) - 1)
    #expect(try resident() == 0)
    let isThere = try FileBytes.fetchingPages(of: [last, first]) {
      for _ in 0..<500 {
        if try resident() >= 5 << 20 { return true }
        usleep(10_000)
      }
      return false
    }
    // MADV_POPULATE_READ is of Linux 5.14; large pages may bring neighbours.
    guard isThere else { return }
    #expect(try resident() < 8 << 20)
  }

  @Test func `let what is done meanwhile end as it ends`() throws {
    struct Stop: Error {}
    let file = try mapped(1 << 20)
    for regions in [[], [file.all], [try file.region(offset: 5, count: 0)]] {
      #expect(FileBytes.fetchingPages(of: regions) { 5 } == 5)
      #expect(throws: Stop.self) { try FileBytes.fetchingPages(of: regions) { throw Stop() } }
    }
    let copy = try FileBytes(path: file.path, mode: .copy)
    #expect(FileBytes.fetchingPages(of: [copy.all]) { 6 } == 6)
  }

  @Test func `survive a file that is cut meanwhile`() throws {
    let file = try mapped(4 << 20)
    try #require(truncate(file.path, 4096) == 0)
    FileBytes.fetchingPages(of: [file.all]) { _ = usleep(50_000) }
  }
}
