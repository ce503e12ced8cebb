internal import QwenFormats
internal import QwenText

/// Reads the tools of a chat request and what it says of their use.
struct ToolReader {
  let object: JSONObject

  init(object: JSONObject) { self.object = object }

  /// The tools of "tools", or of "functions" as older clients have it.
  func tools() throws(EngineError) -> [ToolDescription] {
    guard let value = object["tools"], !value.isNull else { return [] }
    guard let list = value.array else { throw Request.wrong("tools", value, "a list of tools") }
    var tools: [ToolDescription] = []
    for (index, entry) in list.enumerated() {
      let tool = try tool(entry, "tool \(index)")
      if tools.contains(where: { $0.name.utf8.elementsEqual(tool.name.utf8) }) {
        throw EngineError(
          .option, "two tools have the name \"\(escaped(tool.name))\"", key: "tools")
      }
      tools.append(tool)
    }
    return tools
  }

  /// "tool_choice", which may only name one of `tools`.
  func choice(_ tools: [ToolDescription]) throws(EngineError) -> ToolChoice {
    guard let value = object["tool_choice"], !value.isNull else { return .auto }
    let wanted = "\"auto\", \"none\", \"required\" or {\"function\": {\"name\": \"...\"}}"
    switch value.string {
    case "auto"?: return .auto
    case "none"?: return .none
    case "required"?:
      guard !tools.isEmpty else {
        throw EngineError(
          .option, "\"tool_choice\" is \"required\", but there are no tools", key: "tool_choice",
          hint: "give \"tools\"")
      }
      return .required
    case _?: throw Request.wrong("tool_choice", value, wanted)
    case nil: break
    }
    guard let name = value["function"]?["name"]?.string ?? value["name"]?.string else {
      throw Request.wrong("tool_choice", value, wanted)
    }
    guard tools.contains(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
      throw EngineError(
        .option, "\"tool_choice\" names \"\(escaped(name))\", which is none of the tools",
        key: "tool_choice")
    }
    return .function(name)
  }

  private func tool(_ value: JSONValue, _ place: String) throws(EngineError) -> ToolDescription {
    guard let outer = value.object else {
      throw ToolReader.wrong("\(place) is \(value.kindName)")
    }
    if outer["name_for_model"] != nil { return try released(outer, place) }
    if let type = outer["type"], type.string != "function" {
      throw ToolReader.wrong("\(place) is not of the type \"function\"")
    }
    let inner = outer["function"]
    guard let function = inner == nil ? outer : inner?.object else {
      throw ToolReader.wrong("\(place) has a \"function\" that is no object")
    }
    let name = try name(function["name"], "name", place)
    let description = try text(function["description"], "description", place) ?? ""
    let parameters = function["parameters"].flatMap { $0.isNull ? nil : $0 }
    guard parameters == nil || parameters?.object != nil else {
      throw ToolReader.wrong("\(place) has \"parameters\" that are no object")
    }
    return ToolDescription(
      name: name, humanName: try text(function["name_for_human"], "name_for_human", place) ?? name,
      description: description, parameters: parameters ?? .object(JSONObject()),
      argumentsFormat: try format(function["args_format"], place),
      signature: inner == nil ? ["type": "function", "function": value] : value)
  }

  /// The form of the release: name_for_model, name_for_human, description_for_model, parameters, args_format.
  private func released(_ tool: JSONObject, _ place: String) throws(EngineError) -> ToolDescription
  {
    let name = try name(tool["name_for_model"], "name_for_model", place)
    let description =
      try text(tool["description_for_model"] ?? tool["description"], "description_for_model", place)
    let parameters = tool["parameters"] ?? .array([])
    let schema: JSONValue
    switch parameters {
    case .array(let list): schema = try ToolReader.schema(list, place)
    case .object: schema = parameters
    default: throw ToolReader.wrong("\(place) has \"parameters\" that are \(parameters.kindName)")
    }
    return ToolDescription(
      name: name, humanName: try text(tool["name_for_human"], "name_for_human", place) ?? name,
      description: description ?? "", parameters: parameters,
      argumentsFormat: try format(tool["args_format"], place),
      signature: [
        "type": "function",
        "function": [
          "name": .string(name), "description": .string(description ?? ""), "parameters": schema,
        ],
      ])
  }

  /// A JSON Schema of the release's list of {name, description, required, schema}.
  private static func schema(_ list: [JSONValue], _ place: String) throws(EngineError) -> JSONValue
  {
    var properties = JSONObject()
    var required: [JSONValue] = []
    for entry in list {
      guard let name = entry["name"]?.string else {
        throw wrong("\(place) has a parameter without \"name\"")
      }
      var property = entry["schema"]?.object ?? JSONObject()
      if let description = entry["description"]?.string {
        property["description"] = .string(description)
      }
      properties[name] = .object(property)
      if entry["required"]?.bool == true { required.append(.string(name)) }
    }
    return [
      "type": "object", "properties": .object(properties), "required": .array(required),
    ]
  }

  private func name(
    _ value: JSONValue?, _ key: String, _ place: String
  ) throws(EngineError) -> String {
    guard let name = try text(value, key, place), !name.isEmpty else {
      throw ToolReader.wrong("\(place) has no \"\(key)\"")
    }
    try ToolReader.check(name: name, place, key: "tools")
    return name
  }

  /// Refuses names that could be taken for more than a name: too long, or with control characters.
  static func check(name: String, _ place: String, key: String) throws(EngineError) {
    guard name.utf8.count <= 256,
      name.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0 != "\u{7F}" })
    else {
      throw EngineError(
        .option, "\(place) has a name that is too long or holds control characters", key: key,
        hint: "a name has at most 256 bytes on one line")
    }
  }

  private func text(
    _ value: JSONValue?, _ key: String, _ place: String
  ) throws(EngineError) -> String? {
    guard let value, !value.isNull else { return nil }
    guard let text = value.string else {
      throw ToolReader.wrong("\(place) has a \"\(key)\" that is \(value.kindName)")
    }
    return text
  }

  private func format(
    _ value: JSONValue?, _ place: String
  ) throws(EngineError) -> ToolDescription.ArgumentsFormat {
    guard let word = try text(value, "args_format", place) else { return .json }
    guard let format = ToolDescription.ArgumentsFormat(rawValue: word) else {
      throw ToolReader.wrong(
        "\(place) has an \"args_format\" other than \"json\", \"code\", \"none\"")
    }
    return format
  }

  private static func wrong(_ message: String) -> EngineError {
    EngineError(
      .option, message, key: "tools",
      hint:
        "a tool is {\"type\": \"function\", \"function\": {\"name\", \"description\", \"parameters\"}}"
    )
  }
}
