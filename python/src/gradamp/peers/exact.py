"""Writes fixtures: a few training steps by PyTorch, with gradient amplification, that another program must reproduce.

    python -m gradamp.peers.exact FOLDER [CASES.json] [--optimizer sgd|adamw]

A case is an object such as {"name": "vgg19_input", "model": "vgg19", "width": 4, "placement": "input", "factor": 2.0, "sites":
["features.8"]}; CASES.json holds a list of them. Without it the cases are those of cases.json beside this file: gradamp's fixtures. Keys
that a case leaves out have the values of `COMMON` and of its optimizer. Each case becomes one FOLDER/NAME.safetensors:

    x, y                       one batch: float32 [n, 3, 32, 32], int64 [n]
    init.*                     the state_dict before the first step
    stepK.loss, stepK.logits   of step K, from 1, in training mode
    step1.grad.*               each parameter's gradient in step 1: amplified, without weight decay
    final.*                    the state_dict after the last step
    eval.logits                in evaluation mode, after the last step

with the case, as JSON, in the metadata under `case`.

A step is not a continuous function of its weights: a ReLU's input of 1e-8, or two equal values in a pooling window, go one way or
the other by rounding alone. The seed of a case is therefore counted up, by 1000, until no value is that close: the steps in f64, and
in f64 with weights that are moved by up to 1e-6 of their size before each step, stay within half of the limits that a test allows.
AdamW divides a gradient by its own size, so that a gradient that is zero but for rounding moves its parameter by a whole step of
random sign. Cases with such gradients (a bias before a batch norm) have no such seed; the built-in ones avoid them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from ..hooks import amplify
from ..models import build

Case = dict[str, Any]

COMMON: Case = {"batch": 4, "classes": 10, "steps": 2, "seed": 7, "sites": [], "placement": "output", "factor": 1.0}
SGD: Case = {"lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False}
ADAMW: Case = {"optimizer": "adamw", "lr": 1e-3, "betas": [0.9, 0.999], "epsilon": 1e-8, "weight_decay": 0.01, "steps": 3}

#: Differences that are allowed between two computations of a case, relative to the norm of each tensor: half of what tests allow.
LIMITS = {"loss": 3e-5, "grad": 5e-5, "logits": 3e-4, "final": 3e-4}
NUDGE, NUDGES = 1e-6, 8
SEEDS = 400


def built_in(optimizer: str) -> list[Case]:
    """gradamp's fixtures with this optimizer, each with its seed."""
    return json.loads(Path(__file__).with_name("cases.json").read_text())[optimizer]


def network(case: Case) -> nn.Module:
    """The network of a case, with PyTorch's initial weights."""
    options = {key: case[key] for key in ("norm", "skip", "activation", "depth", "repeat") if key in case}
    return build(case["model"], case["width"], case["classes"], **options)


def optimizer_of(case: Case, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of a case: AdamW if `optimizer` says so, else SGD."""
    if case.get("optimizer") == "adamw":
        betas = tuple(case["betas"])
        return torch.optim.AdamW(
            model.parameters(), lr=case["lr"], betas=betas, eps=case["epsilon"], weight_decay=case["weight_decay"]
        )
    return torch.optim.SGD(
        model.parameters(),
        lr=case["lr"],
        momentum=case["momentum"],
        weight_decay=case["weight_decay"],
        nesterov=case["nesterov"],
    )


def batch(case: Case) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The initial state_dict, the images and the labels that follow from the seed of a case.

    Batch norms are moved away from the identity, so that an error in their scales or biases shows.
    """
    torch.manual_seed(case["seed"])
    model = network(case)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    x = torch.randn(case["batch"], 3, 32, 32)
    y = torch.randint(0, case["classes"], (case["batch"],))
    return model.state_dict(), x, y


def steps(
    case: Case, init: dict[str, Tensor], x: Tensor, y: Tensor, dtype: torch.dtype, nudge: int | None = None
) -> dict[str, Tensor]:
    """What the training steps of a case compute, by the names of the fixture. `nudge` is a seed of small changes of the weights."""
    model = network(case)
    model.load_state_dict(init)
    model.to(dtype).train()
    if case["sites"]:
        amplify(model, case["sites"], case["factor"], case["placement"])
    optimizer = optimizer_of(case, model)
    random = torch.Generator().manual_seed(nudge or 0)
    found: dict[str, Tensor] = {}
    for step in range(1, case["steps"] + 1):
        if nudge is not None:
            for w in model.parameters():
                w.data *= 1 + NUDGE * (2 * torch.rand(w.shape, generator=random, dtype=dtype) - 1)
        optimizer.zero_grad()
        logits = model(x.to(dtype))
        loss = functional.cross_entropy(logits, y)
        loss.backward()
        found[f"step{step}.loss"] = loss.detach().reshape(1)
        found[f"step{step}.logits"] = logits.detach()
        if step == 1:
            found.update({f"step1.grad.{name}": w.grad.clone() for name, w in model.named_parameters() if w.grad is not None})
        optimizer.step()
    found.update({f"final.{name}": value.clone() for name, value in model.state_dict().items()})
    with torch.no_grad():
        found["eval.logits"] = model.eval()(x.to(dtype))
    return found


def agree(exact: dict[str, Tensor], found: dict[str, Tensor]) -> bool:
    """Whether two computations of a case differ by no more than `LIMITS`.

    The gradient of a bias before a batch norm is zero but for rounding; its error is measured by its weight's gradient too.
    """
    for name, expected in exact.items():
        if name.endswith("num_batches_tracked"):
            continue
        expected = expected.double()
        size = expected.norm().item()
        weight = exact.get(name.removesuffix("bias") + "weight")
        if name.startswith("step1.grad.") and name.endswith(".bias") and weight is not None:
            size = max(size, weight.double().norm().item())
        limit = next(limit for kind, limit in LIMITS.items() if kind in name.split("."))
        if (found[name].double() - expected).norm().item() > limit * max(size, 1e-12):
            return False
    return True


def computations(case: Case, init: dict[str, Tensor], x: Tensor, y: Tensor) -> Iterator[dict[str, Tensor]]:
    """What f32 computes, and then what f64 computes with weights that are moved."""
    yield steps(case, init, x, y, torch.float32)
    for nudge in range(NUDGES):
        yield steps(case, init, x, y, torch.float64, nudge)


def fixture(case: Case) -> tuple[Case, dict[str, Tensor]]:
    """The case with the first seed with which no step depends on rounding, and the tensors of its fixture.

    Errors: `RuntimeError` if none of `SEEDS` seeds is one.
    """
    own = ADAMW if case.get("optimizer") == "adamw" else SGD
    case = {**COMMON, **own, **case}
    for seed in range(case["seed"], case["seed"] + 1000 * SEEDS, 1000):
        case["seed"] = seed
        init, x, y = batch(case)
        exact = steps(case, init, x, y, torch.float64)
        found = computations(case, init, x, y)
        single = next(found)
        if agree(exact, single) and all(agree(exact, other) for other in found):
            return case, {"x": x, "y": y, **{f"init.{name}": value for name, value in init.items()}, **single}
    raise RuntimeError(f"{case['name']}: each of {SEEDS} seeds depends on rounding")


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the fixtures that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m gradamp.peers.exact", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="where the fixtures are written")
    parser.add_argument("cases", type=Path, nargs="?", help="a JSON list of cases; built-in ones without it")
    parser.add_argument("--optimizer", choices=["sgd", "adamw"], default="sgd", help="that of cases which name none")
    options = parser.parse_args(arguments)
    torch.use_deterministic_algorithms(True)
    cases = json.loads(options.cases.read_text()) if options.cases else built_in(options.optimizer)
    options.folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        adamw = {"optimizer": "adamw"} if options.optimizer == "adamw" else {}
        case, tensors = fixture({**adamw, **case})
        metadata = {"case": json.dumps(case), "torch": torch.__version__}
        contiguous = {name: value.contiguous() for name, value in tensors.items()}
        save_file(contiguous, options.folder / f"{case['name']}.safetensors", metadata=metadata)
        losses = ", ".join(f"{tensors[f'step{step}.loss'].item():.5f}" for step in range(1, case["steps"] + 1))
        print(f"{case['name']}: seed {case['seed']}, losses {losses}", flush=True)


if __name__ == "__main__":
    main()
