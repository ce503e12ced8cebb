import Glibc
import QwenTensor
import Testing

@Suite struct `Quota of a control group` {
  @Test(
    arguments: [
      ("200000 100000\n", 2), ("150000 100000", 2), ("50000 100000", 1), ("1 100000", 1),
      ("max 100000\n", nil), ("-1\n 100000\n", nil), ("", nil), ("100000", nil), ("5 0", nil),
      ("9223372036854775807 1", Int.max),
    ] as [(String, Int?)])
  func `is whole processors, rounded up`(_ text: String, _ processors: Int?) {
    #expect(ControlGroup.quota(text) == processors)
  }

  @Test func `leaves at least one thread`() {
    #expect(WorkerPool.processorCount >= 1)
  }
}

/// A made-up folder of processors: what thread_siblings_list of each says, nil for none.
private func withProcessors(_ lists: [Int: String?], _ body: (String) -> Void) throws {
  let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
  var template = Array("\(base)/qwen-processors-XXXXXX".utf8CString)
  let folder = String(cString: try #require(mkdtemp(&template)))
  defer {
    for processor in lists.keys {
      unlink("\(folder)/cpu\(processor)/topology/thread_siblings_list")
      rmdir("\(folder)/cpu\(processor)/topology")
      rmdir("\(folder)/cpu\(processor)")
    }
    rmdir(folder)
  }
  for (processor, list) in lists {
    mkdir("\(folder)/cpu\(processor)", 0o700)
    mkdir("\(folder)/cpu\(processor)/topology", 0o700)
    guard let list else { continue }
    let path = "\(folder)/cpu\(processor)/topology/thread_siblings_list"
    let file = open(path, O_WRONLY | O_CREAT, 0o600)
    try #require(file >= 0)
    #expect(write(file, list, list.utf8.count) == list.utf8.count)
    close(file)
  }
  body(folder)
}

@Suite struct `Cores of a machine` {
  @Test func `hold the threads that are siblings`() throws {
    let lists = [0: "0,4\n", 1: "1,5\n", 2: "2-3\n", 3: "2-3\n", 4: "0,4\n", 5: "1,5\n"]
    try withProcessors(lists) { folder in
      let cores = { (processors: [Int]) in ProcessorTopology.cores(of: processors, folder: folder) }
      #expect(cores([0, 1, 2, 3, 4, 5]) == 3)
      #expect(cores([0, 4]) == 1)
      #expect(cores([4, 5]) == 2)
      #expect(cores([3, 5]) == 2)
      #expect(cores([3]) == 1)
    }
  }

  @Test func `are the processors where files are missing or odd`() throws {
    let lists: [Int: String?] = [
      0: "", 1: nil, 2: "2-", 3: "7-2", 4: "0-1", 5: "five", 6: "-6", 7: "99999999999999999999",
      8: "8",
    ]
    try withProcessors(lists) { folder in
      #expect(ProcessorTopology.cores(of: Array(0...9), folder: folder) == 10)
      #expect(ProcessorTopology.cores(of: [], folder: folder) == 1)
      #expect(ProcessorTopology.cores(of: [0, 1], folder: folder + "/nowhere") == 2)
    }
  }

  @Test func `are no more than the processors allowed`() {
    #expect((1...sysconf(Int32(_SC_NPROCESSORS_CONF))).contains(ProcessorTopology.allowedCores))
  }
}
