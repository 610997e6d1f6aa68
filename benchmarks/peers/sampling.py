"""Hugging Face's side of benchmarks/sampling.mjs: generate with a static cache, which transformers compiles. Answers each
input line with the seconds of one call.

Usage: python3 sampling.py '{"rows": 1, "prompt": 16, "new": 256, "shape": {…}}'
"""

import json
import sys
import time

import torch
import transformers


def main():
    case = json.loads(sys.argv[1])
    shape = case["shape"]
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=shape["vocabSize"],
        n_positions=shape["nPositions"],
        n_embd=shape["nEmbd"],
        n_layer=shape["nLayer"],
        n_head=shape["nHead"],
    )
    model = transformers.GPT2LMHeadModel(config).to("cuda", torch.bfloat16).eval()
    prompt = torch.randint(0, shape["vocabSize"], (case["rows"], case["prompt"]), device="cuda")

    def generate():
        with torch.inference_mode():
            made = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=True,
                top_k=0,
                max_new_tokens=case["new"],
                eos_token_id=None,  # every sequence gets all its tokens
                pad_token_id=0,
                cache_implementation="static",
            )
        torch.cuda.synchronize()
        assert made.shape[1] == case["prompt"] + case["new"]

    for _ in range(2):  # compiles, then captures
        generate()
    name = f"transformers {transformers.__version__}, PyTorch {torch.__version__}, static cache, compiled"
    print(json.dumps({"name": name}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        generate()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
