"""PyTorch's side of benchmarks/cpu_step.mjs: the same model and step. Answers each input line with the step's seconds.

Usage: python3 cpu_step.py '{"vocabSize": 256, "nPositions": 128, ...}' eager|compile
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
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


def main():
    settings, mode = json.loads(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    model = GPT2(settings)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    except (TypeError, RuntimeError):  # fused AdamW on the CPU came with PyTorch 2.4
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    forward = torch.compile(model) if mode == "compile" else model
    shape = (settings["rows"], settings["nPositions"])
    tokens, targets = (torch.randint(0, settings["vocabSize"], shape) for _ in range(2))

    def step():
        forward(tokens, targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    step()  # compiles
    print(json.dumps({"name": f"PyTorch {torch.__version__} {mode}"}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        step()
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
