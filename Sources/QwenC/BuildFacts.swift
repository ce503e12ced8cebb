internal import QwenEngine
internal import QwenFormats

/// Facts for `qwen_describe` beside options and errors.
enum BuildFacts {
  static func describe(_ what: String) -> JSONValue? {
    switch what {
    case "build":
      return [
        "version": .string(libraryVersion), "abi_version": .integer(Int(abiVersion)),
        "openblas": "opened on demand",
        "architecture": .string(architecture),
      ]
    case "cpu": return EngineFacts.cpu
    case "formats": return EngineFacts.formats
    case "models": return EngineFacts.models
    default: return nil
    }
  }

  private static var architecture: String {
    #if arch(x86_64)
      "x86_64"
    #elseif arch(arm64)
      "arm64"
    #else
      "other"
    #endif
  }
}
