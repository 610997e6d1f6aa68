"""PyTorch's side of benchmarks/step_profile.mjs: where the time of the compiled step of training_step.py goes, by kind of
kernel. Prints one JSON line of seconds a step.

Usage: python3 step_profile.py '{"device": "cuda", "precision": "bf16", "threads": 1, "rows": 32, "shape": {…}}'
"""

import json
import re
import sys
import time

import torch
from torch.profiler import ProfilerActivity, profile

from training_step import make_step

STEPS = 10

# By what the kernels of cuBLAS, cuDNN, FlashAttention and PyTorch are called. The first that matches counts: attention
# kernels are made of CUTLASS's parts, too.
KINDS = {
    "attention": r"flash|fmha|cudnn|sdpa|attention",
    "GEMM": r"gemm|nvjet|cutlass|splitk|cublas",
    "optimizer": r"multi_tensor_apply|adam",
}


def kind_of(kernel):
    return next((kind for kind, names in KINDS.items() if re.search(names, kernel, re.IGNORECASE)), "memory-bound")


def main():
    step = make_step(json.loads(sys.argv[1]), "compile")
    for _ in range(5):
        step()
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    seconds = (time.perf_counter() - start) / STEPS
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(STEPS):
            step()
    kinds = {}
    for event in profiler.key_averages():
        if event.device_type != torch.autograd.DeviceType.CUDA:
            continue
        kind = kind_of(event.key)
        kinds[kind] = kinds.get(kind, 0) + event.self_device_time_total * 1e-6 / STEPS
    print(json.dumps({"name": f"PyTorch {torch.__version__} compile", "stepSeconds": seconds, "kinds": kinds}))


if __name__ == "__main__":
    main()
