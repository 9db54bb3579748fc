"""Times training steps in PyTorch: forward, cross-entropy, backward, SGD with momentum and weight decay.

    python -m gradamp.peers.step --model resnet18 --width 64 --batch 64 --threads 2 --channels-last

Prints one JSON object: the options, the median and the least seconds of a step over `--steps` steps after `--warmup` ones, images per
second, the peak of memory in bytes (of the process on a CPU, of allocations on a GPU) and the last loss.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from ..hooks import amplify
from ..models import NAMES, build


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gradamp.peers.step", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", choices=NAMES, default="resnet18")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--batch", type=int, default=64, help="images of a step")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--warmup", type=int, default=2, help="steps before them")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--channels-last", action="store_true", help="store images as [n, h, w, c]")
    parser.add_argument("--amp", action="store_true", help="mixed precision: autocast to bf16")
    parser.add_argument("--no-tf32", action="store_true", help="multiply in full f32 on a GPU")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--evaluate", action="store_true", help="time forward passes in inference mode")
    parser.add_argument("--amplify", action="store_true", help="amplify the gradient at every batch norm's output")
    return parser.parse_args(arguments)


def peak_bytes(device: str) -> int | None:
    """The most memory so far; `None` where the system does not tell."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Times the steps that the command line asks for."""
    chosen = options(arguments)
    torch.set_num_threads(chosen.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not chosen.no_tf32
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    layout = torch.channels_last if chosen.channels_last else torch.contiguous_format
    model = build(chosen.model, chosen.width).to(chosen.device).to(memory_format=layout)
    if chosen.amplify:
        norms = [name for name, module in model.named_modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
        amplify(model, norms, 1.0001)
    forward = torch.compile(model) if chosen.compile else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)
    x = torch.randn(chosen.batch, 3, 32, 32, device=chosen.device).contiguous(memory_format=layout)
    y = torch.randint(0, 10, (chosen.batch,), device=chosen.device)
    is_cuda = chosen.device.startswith("cuda")

    def mixed() -> torch.autocast:
        return torch.autocast("cuda" if is_cuda else "cpu", dtype=torch.bfloat16, enabled=chosen.amp)

    def evaluate() -> None:
        with torch.inference_mode(), mixed():
            forward(x).cpu()

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with mixed():
            loss = functional.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        if is_cuda:
            torch.cuda.synchronize()
        return loss

    model.train(not chosen.evaluate)
    seconds = []
    for _ in range(chosen.warmup + chosen.steps):
        start = time.perf_counter()
        loss = evaluate() if chosen.evaluate else step()
        seconds.append(time.perf_counter() - start)

    timed = seconds[chosen.warmup :]
    median = statistics.median(timed)
    result = {
        **vars(chosen),
        "torch": torch.__version__,
        "seconds_per_step": round(median, 5),
        "min": round(min(timed), 5),
        "images_per_second": round(chosen.batch / median, 2),
        "peak_bytes": peak_bytes(chosen.device),
        "loss": None if loss is None else round(loss.item(), 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
