internal import QwenFormats

/// What a folder's config.json says of the program that quantised its weights.
package struct QuantizationFacts: Sendable, Equatable {
  /// The program, as "quant_method" names it.
  package enum Method: String, Sendable, CaseIterable {
    case gptq, awq, fp8
    case bitsAndBytes = "bitsandbytes"
  }

  package var method: Method
  /// Bits of a weight; nil where the method has one size, or the tensors tell.
  package var bits: Int?
  /// Inputs that share a scale; nil for all, where the tensors don't tell.
  package var groupSize: Int?
  /// What GPTQ stores of a zero is this much less.
  package var zeroBias = 1
  /// Rows and columns that share a factor.
  package var square = [128, 128]

  /// Reads "quantization_config"; nil if there is none.
  ///
  /// Throws `FormatError.unsupported` naming a method, a size or a layout that this build does not read.
  init?(_ config: ConfigReader) throws(FormatError) {
    guard let reader = try config.child("quantization_config") else { return nil }
    func refused(_ what: String) -> FormatError {
      FormatError(
        .unsupported, path: reader.path, "the weights are quantised by \(what)",
        hint: "this build reads \(Method.allCases.map(\.rawValue).joined(separator: ", ")), "
          + "GGUF files, and float weights, which \"weights\" quantises")
    }
    var name = try reader.string("quant_method") ?? ""
    if name.isEmpty {
      // Files of 2023 may name no method.
      let isBitsAndBytes =
        reader.object["load_in_4bit"] != nil || reader.object["load_in_8bit"] != nil
      name = isBitsAndBytes ? "bitsandbytes" : "gptq"
    }
    guard let method = Method(rawValue: name.lowercased()) else {
      throw refused("\"\(escaped(name))\"")
    }
    self.method = method
    switch method {
    case .bitsAndBytes: break
    case .gptq:
      bits = try reader.int("bits", default: 4)
      let size = try reader.int("group_size", default: -1)
      groupSize = size > 0 ? size : nil
      let layout = try reader.string("checkpoint_format") ?? "gptq"
      guard layout == "gptq" || layout == "gptq_v2" else {
        throw refused("gptq in the layout \"\(escaped(layout))\"")
      }
      if layout == "gptq_v2" { zeroBias = 0 }
      guard bits == 4 || bits == 8 else { throw refused("gptq with \(bits ?? 0) bits") }
    case .awq:
      bits = try reader.int("bits", "w_bit", default: 4)
      let size = try reader.int("group_size", "q_group_size", default: 128)
      groupSize = size > 0 ? size : nil
      let layout = try reader.string("version") ?? "gemm"
      guard layout.lowercased() == "gemm" else {
        throw refused("awq in the layout \"\(escaped(layout))\"")
      }
      guard bits == 4 else { throw refused("awq with \(bits ?? 0) bits") }
    case .fp8:
      if let kind = try reader.string("fmt"), kind != "e4m3" {
        throw refused("fp8 of the kind \"\(escaped(kind))\"")
      }
      guard let size = reader.object["weight_block_size"] else { return }
      let sizes = size.array?.compactMap(\.int) ?? []
      guard sizes.count == 2, sizes.allSatisfy({ (1...(1 << 20)).contains($0) }) else {
        throw reader.error("\"weight_block_size\" is no pair of sizes")
      }
      square = sizes
    }
  }
}
