"""Writes models of full size with random weights, for figures of memory and time; text they write is noise.

    python Tests/Tools/full_size.py qwen-7b OUT [--tiktoken .cache/qwen.tiktoken]
    python Tests/Tools/full_size.py gguf OUT.gguf --shape qwen2.5-0.5b|qwen-7b --format BF16|F16|Q8_0|Q4_0|Q4_1|F32

The first writes the folder of Qwen-7B-Chat as its authors laid it out in September 2023: 8 shards of bfloat16 with an
index, 259 tensors of 15,442,649,088 bytes, config.json, generation_config.json, the real vocabulary. Norms are near 1,
matrices small enough that activations stay finite. One block of random numbers is drawn and repeated, so the disk is the
limit, and memory stays below 200 MB. The second writes one GGUF file with the vocabulary in it.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, Tuple

import numpy as np

Shape = Tuple[int, ...]
#: Random numbers drawn once; a prime count, so that rows of a matrix don't repeat each other.
TILE = 8_388_593
ROOT = Path(__file__).resolve().parents[2]

QWEN_7B = {
    "architectures": ["QWenLMHeadModel"],
    "attn_dropout_prob": 0.0,
    "auto_map": {
        "AutoConfig": "configuration_qwen.QWenConfig",
        "AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel",
    },
    "bf16": False,
    "emb_dropout_prob": 0.0,
    "fp16": False,
    "fp32": False,
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 22016,
    "kv_channels": 128,
    "layer_norm_epsilon": 1e-06,
    "max_position_embeddings": 32768,
    "model_type": "qwen",
    "no_bias": True,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "onnx_safe": None,
    "rotary_emb_base": 10000,
    "rotary_pct": 1.0,
    "scale_attn_weights": True,
    "seq_length": 8192,
    "softmax_in_fp32": False,
    "tie_word_embeddings": False,
    "tokenizer_class": "QWenTokenizer",
    "transformers_version": "4.32.0",
    "use_cache": True,
    "use_cache_kernel": False,
    "use_cache_quantization": False,
    "use_dynamic_ntk": True,
    "use_flash_attn": "auto",
    "use_logn_attn": True,
    "vocab_size": 151936,
}
QWEN_7B_GENERATION = {
    "chat_format": "chatml",
    "do_sample": True,
    "eos_token_id": 151643,
    "max_new_tokens": 512,
    "max_window_size": 24000,
    "pad_token_id": 151643,
    "top_k": 0,
    "top_p": 0.8,
    "transformers_version": "4.31.0",
}
#: name -> hidden, layers, heads, kv heads, head size, intermediate, rows, tied, rotary base, epsilon
QWEN2_05B = (896, 24, 14, 2, 64, 4864, 151936, True, 1e6, 1e-6)


def qwen_7b_shapes() -> Dict[str, Shape]:
    hidden, inner, rows = 4096, 11008, 151936
    shapes: Dict[str, Shape] = {"transformer.wte.weight": (rows, hidden)}
    for layer in range(32):
        at = f"transformer.h.{layer}."
        shapes |= {
            at + "ln_1.weight": (hidden,),
            at + "attn.c_attn.weight": (3 * hidden, hidden),
            at + "attn.c_attn.bias": (3 * hidden,),
            at + "attn.c_proj.weight": (hidden, hidden),
            at + "ln_2.weight": (hidden,),
            at + "mlp.w1.weight": (inner, hidden),
            at + "mlp.w2.weight": (inner, hidden),
            at + "mlp.c_proj.weight": (hidden, inner),
        }
    return shapes | {"transformer.ln_f.weight": (hidden,), "lm_head.weight": (rows, hidden)}


def scale(name: str, shape: Shape) -> float:
    """Standard deviation of a matrix: products keep the size of what they multiply, layers add a little."""
    if any(part in name for part in ("wte", "token_embd")):
        return 0.05
    return 0.5 / shape[-1] ** 0.5


def is_norm(name: str) -> bool:
    return "norm" in name or ".ln_" in name


class Noise:
    """One tile of standard normal numbers, repeated for as long as somebody reads."""

    def __init__(self) -> None:
        self.tile = np.random.default_rng(20230803).standard_normal(TILE, dtype=np.float32)

    def floats(self, name: str, shape: Shape) -> np.ndarray:
        """A small tensor: a norm near 1, or a bias near 0."""
        count = int(np.prod(shape))
        noise = np.resize(self.tile, count)
        return ((1 + 0.05 * noise) if is_norm(name) else 0.02 * noise).astype(np.float32)


def bfloat16(values: np.ndarray) -> np.ndarray:
    """Rounded to the nearest even, as 16-bit integers."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def repeat(file: BinaryIO, tile: bytes, count: int, start: int) -> int:
    """Writes `count` bytes of the endless repetition of `tile`, beginning at `start`; returns where it ended."""
    view = memoryview(tile)
    while count > 0:
        piece = view[start : start + count]
        file.write(piece)
        count -= len(piece)
        start = (start + len(piece)) % len(tile)
    return start


# ---- The folder ------------------------------------------------------------------------------------------


def write_folder(out: Path, tiktoken: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, value in (("config", QWEN_7B), ("generation_config", QWEN_7B_GENERATION)):
        (out / f"{name}.json").write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    tokenizer = {"model_max_length": 8192, "tokenizer_class": "QWenTokenizer"}
    (out / "tokenizer_config.json").write_text(json.dumps(tokenizer) + "\n", encoding="utf-8")
    shutil.copy(tiktoken, out / "qwen.tiktoken")
    noise = Noise()
    tiles: Dict[float, bytes] = {}
    weight_map: Dict[str, str] = {}
    total = 0
    for number, shard in enumerate(shards(qwen_7b_shapes(), 8), 1):
        file_name = f"model-{number:05}-of-00008.safetensors"
        total += write_shard(out / file_name, shard, noise, tiles)
        weight_map |= {name: file_name for name in shard}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    print(f"{out}: {len(weight_map)} tensors, {total} bytes")


def shards(shapes: Dict[str, Shape], count: int) -> Iterator[Dict[str, Shape]]:
    """Tensors in their order, in `count` files of about the same size."""
    sizes = {name: 2 * int(np.prod(shape)) for name, shape in shapes.items()}
    limit, done, shard = sum(sizes.values()) / count, 0, {}
    made = 0
    for name, shape in shapes.items():
        shard[name] = shape
        done += sizes[name]
        if done >= limit * (made + 1) and made < count - 1:
            yield shard
            made, shard = made + 1, {}
    yield shard


def write_shard(path: Path, shard: Dict[str, Shape], noise: Noise, tiles: Dict[float, bytes]) -> int:
    header, end = {}, 0
    for name, shape in shard.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    place = 0
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in shard.items():
            if len(shape) == 1:
                file.write(bfloat16(noise.floats(name, shape)).tobytes())
                continue
            deviation = scale(name, shape)
            if deviation not in tiles:
                tiles[deviation] = bfloat16(noise.tile * np.float32(deviation)).tobytes()
            tile = tiles[deviation]
            place = repeat(file, tile, 2 * int(np.prod(shape)), place % len(tile))
    return end


# ---- GGUF ------------------------------------------------------------------------------------------------


def write_gguf(out: Path, shape_name: str, format_name: str, tiktoken: Path) -> None:
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape, quantize

    first = shape_name == "qwen-7b"
    hidden, layers, heads, kv_heads, dim, inner, rows, tied, base, epsilon = (
        (4096, 32, 32, 32, 128, 11008, 151936, False, 1e4, 1e-6) if first else QWEN2_05B
    )
    arch = "qwen" if first else "qwen2"
    format_type = GGMLQuantizationType[format_name]
    writer = GGUFWriter(str(out), arch, use_temp_file=False)
    writer.add_name(f"random weights in the shape of {shape_name}")
    writer.add_context_length(8192 if first else 32768)
    writer.add_embedding_length(hidden)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * inner if first else inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(epsilon)
    writer.add_rope_freq_base(base)
    if first:
        writer.add_rope_dimension_count(dim)
    add_vocabulary(writer, tiktoken, rows)
    shapes = gguf_shapes(first, hidden, layers, heads, kv_heads, dim, inner, rows, tied)
    noise = Noise()
    for name, shape in shapes.items():
        if len(shape) == 1:
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * shape[0])
            continue
        bytes_shape = quant_shape_to_byte_shape(shape, format_type)
        writer.add_tensor_info(name, bytes_shape, np.dtype(np.uint8), int(np.prod(bytes_shape)), format_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    files = writer.fout
    assert files is not None
    file = files[0]
    writer.write_padding(file, file.tell())
    tiles: Dict[float, bytes] = {}
    place = 0
    for name, shape in shapes.items():
        start = file.tell()
        if len(shape) == 1:
            file.write(noise.floats(name, shape).tobytes())
        else:
            deviation = scale(name, shape)
            if deviation not in tiles:
                # Rows of 32 numbers make whole blocks of every format of 32; others of 256.
                whole = noise.tile[: TILE // 8192 * 8192].reshape(-1, 256) * np.float32(deviation)
                tiles[deviation] = quantize(whole, format_type).tobytes()
            tile = tiles[deviation]
            size = int(np.prod(quant_shape_to_byte_shape(shape, format_type)))
            place = repeat(file, tile, size, place % len(tile))
            place = place // block_bytes(format_type) * block_bytes(format_type)
        writer.write_padding(file, file.tell() - start)
    writer.close()
    print(f"{out}: {len(shapes)} tensors, {out.stat().st_size} bytes")


def block_bytes(format_type: object) -> int:
    from gguf.constants import GGML_QUANT_SIZES

    return GGML_QUANT_SIZES[format_type][1]


def gguf_shapes(
    first: bool, hidden: int, layers: int, heads: int, kv: int, dim: int, inner: int, rows: int, tied: bool
) -> Dict[str, Shape]:
    shapes: Dict[str, Shape] = {"token_embd.weight": (rows, hidden)}
    for layer in range(layers):
        at = f"blk.{layer}."
        shapes[at + "attn_norm.weight"] = (hidden,)
        if first:
            shapes[at + "attn_qkv.weight"] = (3 * hidden, hidden)
            shapes[at + "attn_qkv.bias"] = (3 * hidden,)
        else:
            for name, width in (("q", heads * dim), ("k", kv * dim), ("v", kv * dim)):
                shapes[f"{at}attn_{name}.weight"] = (width, hidden)
                shapes[f"{at}attn_{name}.bias"] = (width,)
        shapes |= {
            at + "attn_output.weight": (hidden, heads * dim),
            at + "ffn_norm.weight": (hidden,),
            at + "ffn_gate.weight": (inner, hidden),
            at + "ffn_up.weight": (inner, hidden),
            at + "ffn_down.weight": (hidden, inner),
        }
    shapes["output_norm.weight"] = (hidden,)
    return shapes if tied else shapes | {"output.weight": (rows, hidden)}


def add_vocabulary(writer: object, tiktoken: Path, rows: int) -> None:
    """The real vocabulary in the form of GGUF files: tokens in the byte alphabet, merges, control tokens."""
    ranks = {}
    for line in tiktoken.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    letters = byte_letters()
    spell = lambda token: "".join(letters[byte] for byte in token)  # noqa: E731
    tokens = [spell(token) for token, _ in sorted(ranks.items(), key=lambda pair: pair[1])]
    types = [1] * len(tokens)
    for text in ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]:
        tokens.append(text)
        types.append(3)
    while len(tokens) < rows:
        tokens.append(f"[PAD{len(tokens)}]")
        types.append(5)
    merges: List[str] = []
    for token, rank in sorted(ranks.items(), key=lambda pair: pair[1]):
        if len(token) > 1:
            left, right = split_by_merging(token, rank, ranks)
            merges.append(f"{spell(left)} {spell(right)}")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(151645)
    writer.add_bos_token_id(151643)


def split_by_merging(token: bytes, rank: int, ranks: Dict[bytes, int]) -> Tuple[bytes, bytes]:
    """The two parts that the last merge of `token` joins: what merges of lower rank make of it."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [(ranks.get(parts[i] + parts[i + 1], rank), i) for i in range(len(parts) - 1)]
        lowest, at = min(pairs)
        if lowest >= rank:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts[0], b"".join(parts[1:])


def byte_letters() -> List[str]:
    """A printable letter for each byte, as GPT-2 has them."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 0
    for byte in range(256):
        if byte in kept:
            letters[byte] = chr(byte)
        else:
            letters[byte] = chr(256 + extra)
            extra += 1
    return [letters[byte] for byte in range(256)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["qwen-7b", "gguf"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--tiktoken", type=Path, default=ROOT / ".cache" / "qwen.tiktoken")
    parser.add_argument("--shape", choices=["qwen2.5-0.5b", "qwen-7b"], default="qwen2.5-0.5b")
    parser.add_argument("--format", default="Q8_0")
    arguments = parser.parse_args()
    if arguments.kind == "qwen-7b":
        write_folder(arguments.out, arguments.tiktoken)
    else:
        write_gguf(arguments.out, arguments.shape, arguments.format, arguments.tiktoken)


if __name__ == "__main__":
    main()
