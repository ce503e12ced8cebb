package import QwenFormats
internal import QwenModel
internal import QwenTensor
internal import QwenText

/// Version of the library.
package let libraryVersion = "0.1.0"

/// What this build can do, as JSON.
package enum EngineFacts {
  /// Processors and the instruction set in force.
  package static var cpu: JSONValue {
    [
      "processors": .integer(WorkerPool.processorCount),
      "instruction_set": .string(WorkerPool.instructionSet),
    ]
  }

  /// Storage formats of weights; "option" is what "weights" calls one that can be written.
  package static var formats: JSONValue {
    let list = StorageFormat.all.map { format -> JSONValue in
      [
        "name": .string(format.name), "bits_per_weight": .number(format.bitsPerWeight),
        "block": .integer(format.blockElements),
        "option": StorageFormat.encodable(format.word).map { .string($0.word) } ?? .null,
      ]
    }
    return ["formats": .array(list)]
  }

  /// Families, containers and chat formats.
  package static var models: JSONValue {
    [
      "families": .array(ModelFamily.allCases.map { .string($0.rawValue) }),
      "containers": ["safetensors", "gguf"],
      "chat_formats": .array(ChatFormat.Dialect.allCases.map { .string($0.rawValue) }),
    ]
  }
}

extension Model {
  /// Facts for `qwen_model_info`.
  package var info: JSONObject {
    let c = configuration
    let perToken =
      c.kvShape(.f16).layers * c.kvShape(.f16).heads * c.kvShape(.f16).headDim * 2 * 2
    var info: JSONObject = [
      "path": .string(path), "fingerprint": .string(fingerprint),
      "family": .string(c.family.rawValue),
      "vocab_size": .integer(c.vocabularyRows), "usable_tokens": .integer(usableTokens),
      "hidden_size": .integer(c.hiddenSize), "layers": .integer(c.layerCount),
      "heads": .integer(c.queryHeads), "kv_heads": .integer(c.kvHeads),
      "head_dim": .integer(c.headDim), "intermediate_size": .integer(c.intermediateSize),
      "rope_theta": .number(c.rotaryBase), "tied": .bool(c.isTied),
      "context": .integer(c.contextLength), "trained_context": .integer(c.trainedLength),
      "dynamic_ntk": .bool(c.usesDynamicNTK), "logn": .bool(c.usesLogN),
      "tokenizer": .string(tokenizer.kindName),
      "chat_format": chat.map { .string($0.dialect.rawValue) } ?? .null,
      "default_system": chat?.defaultSystem.map { .string($0) } ?? .null,
      "tool_format": (chat?.toolSyntax?.rawValue).map { .string($0) } ?? .null,
      "stop_ids": .array(stopIDs.map { .integer(Int($0)) }),
      "defaults": .object(defaults.options), "threads": .integer(settings.threads),
    ]
    var memory: JSONObject = [
      "weight_bytes": .integer(weightBytes), "kv_bytes_per_token": .integer(perToken),
      "prefix_cache_bytes": .integer(prefixCache?.usage.bytes ?? 0),
    ]
    if let network {
      let shares = network.shares
      memory["mapped_bytes"] = .integer(shares.reduce(0) { $0 + $1.mappedBytes })
      memory["settled"] = .bool(network.isSettled)
      memory["weight_bytes_per_token"] = .integer(network.bytesPerToken)
      info["formats"] = .object(Model.formats(shares))
      info["parts"] = .array(shares.map(\.json))
    }
    info["memory"] = .object(memory)
    return info
  }

  /// The format of each part, that of most of its bytes; a tied head has the embedding's.
  private static func formats(_ shares: [WeightShare]) -> JSONObject {
    func name(_ part: WeightPart) -> JSONValue? {
      shares.filter { $0.part == part }.max { $0.byteCount < $1.byteCount }
        .map { .string($0.format.rowName) }
    }
    let embedding = name(.embedding) ?? .null
    return [
      "embedding": embedding, "head": name(.head) ?? embedding, "layers": name(.layers) ?? .null,
    ]
  }
}

extension WeightShare {
  /// As `qwen_model_info` tells it.
  var json: JSONValue {
    [
      "part": .string(part.rawValue), "format": .string(format.rowName),
      "bits_per_weight": .number(format.bitsPerWeight), "matrices": .integer(matrices),
      "bytes": .integer(byteCount), "mapped_bytes": .integer(mappedBytes),
    ]
  }
}
