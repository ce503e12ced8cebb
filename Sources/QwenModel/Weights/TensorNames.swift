internal import QwenFormats

/// What the tensors of one family are called in one kind of container.
struct TensorNames {
  let embedding: String
  let finalNorm: String
  let head: String
  /// Put before the layer number.
  let layer: String
  let attentionNorm: String
  let feedForwardNorm: String
  /// Queries, keys and values in one matrix, where a family has that.
  let fused: String
  let query: String
  let key: String
  let value: String
  let output: String
  let queryNorm: String
  let keyNorm: String
  let gate: String
  let up: String
  let down: String
  /// Of a mixture of experts; families without one have no such tensors.
  var router = "mlp.gate"
  var sharedExpert = (
    gate: "mlp.shared_expert.gate_proj", up: "mlp.shared_expert.up_proj",
    down: "mlp.shared_expert.down_proj"
  )
  var sharedGate = "mlp.shared_expert_gate"

  /// Qwen1.5 to Qwen3 and Llama in Hugging Face folders.
  static let transformers = TensorNames(
    embedding: "model.embed_tokens", finalNorm: "model.norm", head: "lm_head",
    layer: "model.layers.", attentionNorm: "input_layernorm",
    feedForwardNorm: "post_attention_layernorm", fused: "self_attn.qkv_proj",
    query: "self_attn.q_proj", key: "self_attn.k_proj", value: "self_attn.v_proj",
    output: "self_attn.o_proj", queryNorm: "self_attn.q_norm", keyNorm: "self_attn.k_norm",
    gate: "mlp.gate_proj", up: "mlp.up_proj", down: "mlp.down_proj")

  /// Qwen of 2023 in its own folders; w2 is the gate, w1 goes up.
  static let firstGeneration = TensorNames(
    embedding: "transformer.wte", finalNorm: "transformer.ln_f", head: "lm_head",
    layer: "transformer.h.", attentionNorm: "ln_1", feedForwardNorm: "ln_2",
    fused: "attn.c_attn", query: "attn.q", key: "attn.k", value: "attn.v",
    output: "attn.c_proj", queryNorm: "attn.q_norm", keyNorm: "attn.k_norm", gate: "mlp.w2",
    up: "mlp.w1", down: "mlp.c_proj")

  /// Every family in GGUF files.
  static let gguf = TensorNames(
    embedding: "token_embd", finalNorm: "output_norm", head: "output", layer: "blk.",
    attentionNorm: "attn_norm", feedForwardNorm: "ffn_norm", fused: "attn_qkv", query: "attn_q",
    key: "attn_k", value: "attn_v", output: "attn_output", queryNorm: "attn_q_norm",
    keyNorm: "attn_k_norm", gate: "ffn_gate", up: "ffn_up", down: "ffn_down",
    router: "ffn_gate_inp",
    sharedExpert: (gate: "ffn_gate_shexp", up: "ffn_up_shexp", down: "ffn_down_shexp"),
    sharedGate: "ffn_gate_inp_shexp")

  /// Put behind the name of a layer in our own folders: which input each column takes, integers of 32 bits.
  static let order = ".input_order"

  /// Put before the projections of one expert in folders.
  static func expertPrefix(_ number: Int) -> String { "mlp.experts.\(number)." }

  /// The names that `family` uses in `archive`.
  static func find(_ family: ModelFamily, in archive: TensorArchive) -> TensorNames {
    if archive[gguf.embedding + ".weight"] != nil { return gguf }
    return family == .qwen ? firstGeneration : transformers
  }
}
