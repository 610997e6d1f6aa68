"""PyTorch's side of benchmarks/operations.mjs: the same functions, compiled. Answers each input line with a JSON object of
seconds by name, from CUDA events around each call.

Usage: python3 operations.py
"""

import json
import sys

import torch
import torch._functorch.config
import torch.nn.functional as F

ROWS, TIME, WIDTH, VOCABULARY = 128, 1024, 768, 50257
PADDED = (VOCABULARY + 63) // 64 * 64
BF16 = {"dtype": torch.bfloat16, "device": "cuda"}


def compiled(function):
    return torch.compile(function, dynamic=False)


def with_backward(name, function, inputs, cases):
    """Adds function(*inputs) and the gradients of the floating inputs, each compiled, as two cases."""
    leaves = [x for x in inputs if x.is_floating_point()]
    for leaf in leaves:
        leaf.requires_grad_()
    forward = compiled(function)
    y = forward(*inputs)
    dy = torch.randn_like(y)

    def run():
        with torch.no_grad():
            forward(*inputs)

    cases[name] = run
    cases[f"{name} backward"] = lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def main():
    torch.manual_seed(0)
    torch._functorch.config.donated_buffer = False  # gradients are taken again and again
    features = lambda: torch.randn(ROWS, TIME, WIDTH, **BF16)
    cases = {}
    weight, bias = torch.ones(WIDTH, device="cuda"), torch.zeros(WIDTH, device="cuda")
    norm = lambda x, w, b: F.layer_norm(x, (WIDTH,), w.to(x.dtype), b.to(x.dtype))
    with_backward("layer_norm", norm, [features(), weight, bias], cases)
    add_norm = compiled(lambda x, y, w, b: (lambda s: (s, norm(s, w, b)))(x + y))
    x, y = features(), features()
    cases["layer_norm of a sum"] = lambda: add_norm(x, y, weight.detach(), bias.detach())
    with_backward("GELU (tanh)", lambda x: F.gelu(x, approximate="tanh"), [features()], cases)
    with_backward("GELU (erf)", F.gelu, [features()], cases)
    add, drop = compiled(torch.add), compiled(lambda x: F.dropout(x, 0.1))
    cases["add"] = lambda: add(x, y)
    cases["dropout"] = lambda: drop(x)
    ids = torch.randint(0, VOCABULARY, (ROWS, TIME), device="cuda")
    with_backward("embedding", F.embedding, [ids, torch.randn(PADDED, WIDTH, device="cuda")], cases)
    place = lambda x, w: x + w.to(x.dtype)
    with_backward("position_embedding", place, [features(), torch.randn(TIME, WIDTH, device="cuda")], cases)
    for classes, rows in ((WIDTH, ROWS * TIME), (VOCABULARY, 8 * TIME)):
        targets = torch.randint(0, classes, (rows,), device="cuda")
        logits = torch.randn(rows, (classes + 63) // 64 * 64, **BF16)
        loss = lambda z, t: F.cross_entropy(z.float(), t)
        name = f"cross_entropy, {classes:,} classes"
        with_backward(name, loss, [logits, targets], cases)
        cases[f"cross_entropy backward, {classes:,} classes"] = cases.pop(f"{name} backward")
    parameters = [torch.randn(PADDED, WIDTH, device="cuda", requires_grad=True)]
    parameters[0].grad = torch.randn_like(parameters[0])
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)
    cases["gradient_norm"] = lambda: torch.nn.utils.get_total_norm([p.grad for p in parameters])
    cases["AdamW"] = optimizer.step

    def sample():
        events = {}
        for name, run in cases.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            events[name] = (start, end)
        torch.cuda.synchronize()
        return {name: start.elapsed_time(end) / 1000 for name, (start, end) in events.items()}

    sample()  # compiles
    print(json.dumps({"name": f"PyTorch {torch.__version__} compile"}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(sample()), flush=True)


if __name__ == "__main__":
    main()
