import QwenFormats
import QwenTensor
import Testing

@testable import QwenModel

/// Layers as other programs quantised them: `Tests/Tools/foreign_weights.py`.
struct ForeignTests {
  static let folder = Folder(
    path: "\(#filePath)".split(separator: "/").dropLast(2).reduce("") { $0 + "/" + $1 }
      + "/Fixtures/foreign")

  /// Case and the format that holds it.
  static let formats = [
    "nf4": "NF4", "nf4-half": "NF4", "nf4-nested": "NF4-double", "nf4-128": "NF4", "nf4-odd": "F32",
    "fp4": "FP4", "fp4-nested": "FP4", "int8": "INT8", "int8-odd": "F32", "fp8": "FP8",
    "fp8-odd": "F32", "gptq-4": "Z4_64", "gptq-4-asymmetric": "Z4_32", "gptq-4-whole": "Z4_32",
    "gptq-4-sorted": "Z4_64", "gptq-4-uneven": "F32", "gptq-8": "Z8", "gptq-8-sorted": "Z8",
    "gptq-v2": "Z4_32", "awq": "Z4_64",
  ]

  @Test func `every case has its format`() throws {
    let cases = try #require(try Self.folder.object("cases.json")?["cases"]?.object)
    #expect(Set(cases.keys) == Set(Self.formats.keys))
  }

  @Test(arguments: formats.keys.sorted(), [1, 3])
  func `values are those of the program that wrote them`(name: String, threads: Int) throws {
    let archive = try Self.folder.tensors(mode: .map)
    let config = try #require(try Self.folder.object("cases.json")?["cases"]?[name])
    let reader = ConfigReader(object: ["quantization_config": config], path: "config.json")
    let foreign = ForeignWeights(archive: archive, facts: try QuantizationFacts(reader))
    let expected = try #require(archive["\(name)/expected"])
    let (rows, columns) = (expected.shape[0], expected.shape[1])
    let wanted = (0..<rows * columns).map { ForeignNumbers(expected.foreignBytes, .f32)[$0] }

    let found = try #require(try foreign.matrix("\(name)/layer", rows: rows, columns: columns))
    #expect(found.format.name == Self.formats[name])
    var row = [Float](repeating: 0, count: columns)
    for index in 0..<rows {
      found.decode(row: index, into: &row)
      #expect(row == Array(wanted[index * columns..<(index + 1) * columns]), "row \(index)")
    }

    let ours = try found.matrix(threads: threads).decoded().array()
    for index in 0..<rows {
      for place in 0..<columns {
        let column = found.order.map { Int($0[place]) } ?? place
        #expect(ours[index * columns + place] == wanted[index * columns + column])
      }
    }
    #expect((found.order != nil) == name.hasSuffix("-sorted"))

    let entry = try #require(
      archive["\(name)/layer.qweight"] ?? archive["\(name)/layer.weight"])
    let planned = try #require(try foreign.layer(of: entry))
    #expect(planned.rows == rows && planned.columns == columns)
    #expect(planned.byteCount == found.byteCount)
  }

  @Test func `sizes that differ from the configuration are refused`() throws {
    let archive = try Self.folder.tensors(mode: .map)
    for name in Self.formats.keys {
      let config = try #require(try Self.folder.object("cases.json")?["cases"]?[name])
      let reader = ConfigReader(object: ["quantization_config": config], path: "config.json")
      let foreign = ForeignWeights(archive: archive, facts: try QuantizationFacts(reader))
      for (rows, columns) in [(8, 32), (16, 128), (1, 1), (8, 4096)] {
        #expect(throws: FormatError.self, "\(name)") {
          _ = try foreign.matrix("\(name)/layer", rows: rows, columns: columns)
        }
      }
    }
  }

  @Test(arguments: [
    ("{\"quant_method\":\"hqq\"}", "hqq"),
    ("{\"quant_method\":\"compressed-tensors\"}", "compressed-tensors"),
    ("{\"quant_method\":\"gptq\",\"bits\":3}", "3 bits"),
    ("{\"quant_method\":\"gptq\",\"bits\":4,\"checkpoint_format\":\"marlin\"}", "marlin"),
    ("{\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemv\"}", "gemv"),
    ("{\"quant_method\":\"fp8\",\"weight_block_size\":[0,128]}", "weight_block_size"),
    ("{\"quant_method\":7}", "quant_method"), ("[]", "quantization_config"),
  ])
  func `what this build does not read is named`(_ text: String, _ word: String) throws {
    let value = try JSONValue(parsing: Array(text.utf8))
    let reader = ConfigReader(object: ["quantization_config": value], path: "config.json")
    do {
      _ = try QuantizationFacts(reader)
      Issue.record("\(text) was taken")
    } catch { #expect(error.sentence.contains(word)) }
  }
}
