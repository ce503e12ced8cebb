/// The answer of `qwen_model_plan` as a table for people.
func planText(_ plan: JSON) -> String {
  func bytes(_ value: JSON?) -> String { readableSize(value?.double ?? 0) }
  func row(_ name: String, _ amount: String, _ note: String = "") -> String {
    "  \(name.padded(34))\(String(repeating: " ", count: max(0, 12 - amount.count)))\(amount)"
      + (note.isEmpty ? "\n" : "  \(note)\n")
  }
  var text = "\(plan["path"]?.string ?? ""), family \(plan["family"]?.string ?? "")\n\nweights\n"
  let weights = plan["weights"]
  for part in weights?["parts"]?.array ?? [] {
    let bits = decimal(part["bits_per_weight"]?.double ?? 0, 2)
    let mapped = part["mapped_bytes"]?.double == part["bytes"]?.double ? ", mapped" : ""
    text += row(
      "\(part["part"]?.string ?? ""), \(part["format"]?.string ?? "")", bytes(part["bytes"]),
      "\(part["matrices"]?.text ?? "") matrices, \(bits) bits a weight\(mapped)")
  }
  text += row("norms and biases", bytes(weights?["norms_and_biases_bytes"]))
  text += row("together", bytes(weights?["bytes"]))
  let session = plan["session"]
  text += "\nsession\n"
  text += row(
    "workspace", bytes(session?["workspace_bytes"]),
    "steps of \(session?["prefill_chunk"]?.text ?? "") tokens")
  text += row(
    "keys and values of a token", bytes(session?["kv_bytes_per_token"]),
    session?["kv_cache"]?.string ?? "")
  text += row(
    "context of \(session?["context"]?.text ?? "")", bytes(session?["kv_bytes"]))
  text += row("weights and session", bytes(plan["total_bytes"]), fitting(plan["fits"]))
  text += "\ncontexts, everything together\n"
  for context in plan["contexts"]?.array ?? [] {
    text += row(
      context["context"]?.text ?? "", bytes(context["total_bytes"]), fitting(context["fits"]))
  }
  let memory = plan["memory"]
  text += "\nmemory\n"
  text += row("of the machine", bytes(memory?["machine_bytes"]))
  text += row("available now", bytes(memory?["available_bytes"]))
  if let limit = memory?["max_memory"] { text += row("max_memory", bytes(limit)) }
  text += row("longest context that fits", memory?["context_that_fits"]?.text ?? "", "tokens")
  return text
    + row("longest context that fits now", memory?["context_that_fits_now"]?.text ?? "", "tokens")
}

private func fitting(_ value: JSON?) -> String { value?.text == "true" ? "fits" : "does not fit" }
