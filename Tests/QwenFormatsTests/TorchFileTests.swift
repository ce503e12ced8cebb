import QwenFormats
import Testing

/// Checkpoints that torch.save wrote, and some that must be refused: `Tests/Tools/torch_checkpoints.py`.
@Suite struct TorchFileTests {
  static let fixtures =
    "\(#filePath)".split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 }
    + "/Fixtures/torch"

  static let cases: [JSONValue] = {
    (try? Folder(path: fixtures).json("cases.json"))?.array ?? []
  }()

  @Test func thereAreCases() { #expect(TorchFileTests.cases.count > 20) }

  @Test(arguments: cases) func eachIsReadOrRefused(_ facts: JSONValue) throws {
    let name = try #require(facts["case"]?.string)
    let folder = Folder(path: TorchFileTests.fixtures + "/" + name)
    for mode in [FileBytes.Mode.map, .copy] {
      let archive: TensorArchive
      do {
        archive = try folder.tensors(mode: mode)
      } catch {
        let words = try #require(facts["refused"]?.array, "\(error.sentence)")
        for word in words {
          #expect(error.sentence.contains(try #require(word.string)), "\(error.sentence)")
        }
        continue
      }
      let tensors = try #require(facts["tensors"]?.object, "\(name) was read")
      #expect(archive.entries.count == tensors.count)
      for (key, value) in tensors.entries {
        let entry = try #require(archive[key])
        #expect(entry.type == .named(try #require(value["dtype"]?.string)))
        #expect(entry.shape == value["shape"]?.array?.compactMap(\.int))
        let hex = entry.region.array().map { byte in
          (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }.joined()
        #expect(hex == value["hex"]?.string)
      }
    }
  }

  /// Every place at which a download may have ended.
  @Test func everyCutIsAnError() throws {
    let whole = try FileBytes(
      path: TorchFileTests.fixtures + "/types/pytorch_model.bin", mode: .copy)
    let bytes = whole.all.array()
    let folder = try TemporaryFolder()
    for count in stride(from: 0, to: bytes.count, by: 7) {
      try folder.write("pytorch_model.bin", bytes.prefix(count))
      #expect(throws: FormatError.self) { try folder.folder.tensors(mode: .copy) }
    }
  }

  /// Every byte of the description, of the directory and of the headers, changed in three ways.
  @Test func noChangedByteEndsTheProcess() throws {
    let whole = try FileBytes(
      path: TorchFileTests.fixtures + "/state-dict/pytorch_model.bin", mode: .copy)
    let bytes = whole.all.array()
    let folder = try TemporaryFolder()
    for index in bytes.indices {
      for value in [UInt8(0), 0xFF, bytes[index] ^ 1] {
        var changed = bytes
        changed[index] = value
        try folder.write("pytorch_model.bin", changed[...])
        _ = try? folder.folder.tensors(mode: .copy)
      }
    }
  }
}
