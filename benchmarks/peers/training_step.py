"""PyTorch's side of benchmarks/training_step.mjs: the same model and step. Answers each input line with the step's seconds.

Usage: python3 training_step.py '{"device": "cpu", "precision": "fp32", "threads": 2, "rows": 32, "shape": {…}}' eager|compile
"""

import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.c_attn, self.c_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.c_fc, self.mlp_proj = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        rows, time_, d = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(d, dim=2)
        q, k, v = (t.view(rows, time_, self.heads, d // self.heads).transpose(1, 2) for t in (q, k, v))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:  # PyTorch before 2.0
            mask = torch.full((time_, time_), float("-inf")).triu(1)
            y = torch.softmax(q @ k.transpose(-2, -1) / (d // self.heads) ** 0.5 + mask, -1) @ v
        x = x + self.c_proj(y.transpose(1, 2).reshape(rows, time_, d))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["nEmbd"]
        self.wte, self.wpe = nn.Embedding(c["vocabSize"], d), nn.Embedding(c["nPositions"], d)
        self.blocks = nn.ModuleList(Block(d, c["nHead"]) for _ in range(c["nLayer"]))
        self.ln_f = nn.LayerNorm(d)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = self.ln_f(x) @ self.wte.weight.t()
        return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.view(-1))


def make_step(case, mode):
    """One training step as PyTorch users write it, waiting for its end."""
    shape, device = case["shape"], case["device"]
    # PyTorch users pad the vocabulary by hand, and give tensor cores fp32 where it costs nothing.
    padded = {**shape, "vocabSize": (shape["vocabSize"] + 63) // 64 * 64}
    torch.set_num_threads(case["threads"])
    torch.manual_seed(0)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
    model = GPT2(padded).to(device)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    except (TypeError, RuntimeError):  # fused AdamW on the CPU came with PyTorch 2.4
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    forward = torch.compile(model) if mode == "compile" else model
    size = (case["rows"], shape["nPositions"])
    tokens, targets = (torch.randint(0, shape["vocabSize"], size, device=device) for _ in range(2))
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(case["precision"])
    scaler = torch.amp.GradScaler(device) if half == torch.float16 else None

    def step():
        with torch.autocast(device, dtype=half or torch.bfloat16, enabled=half is not None):
            loss = forward(tokens, targets)
        (scaler.scale(loss) if scaler else loss).backward()
        if scaler:
            scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def main():
    case, mode = json.loads(sys.argv[1]), sys.argv[2]
    step = make_step(case, mode)
    step()  # compiles
    print(json.dumps({"name": f"PyTorch {torch.__version__} {mode}"}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
