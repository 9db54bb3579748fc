"""Trains the plain recipe on CIFAR-10 in PyTorch and prints a JSON object for each epoch.

    python -m gradamp.peers.train --data cifar-10-batches-bin --epochs 5
    python -m gradamp.peers.train --data cifar-10-batches-bin --epochs 5 --amplify-from 2 --amplify-to 3 --ratio 0.5 --factor 1.5

The recipe: random crops with padding 4 and horizontal flips, SGD with momentum 0.9 and weight decay 5e-4, a cosine from `--lr` to 0 over
all steps. Amplified epochs, counted from 0, draw a random share of the batch norms and multiply the gradient at their outputs.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..checkpoint import NORMALISATION
from ..hooks import amplify
from ..models import NAMES, build

RECORD = 1 + 3 * 32 * 32


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m gradamp.peers.train", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder with data_batch_1.bin to test_batch.bin")
    parser.add_argument("--model", choices=NAMES, default="resnet18")
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128, help="images of a step")
    parser.add_argument("--lr", type=float, default=0.1, help="the learning rate at the beginning")
    parser.add_argument("--threads", type=int, default=2, help="threads of the CPU")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train-limit", type=int, default=50_000, help="train on the first images only")
    parser.add_argument("--amplify-from", type=int, default=-1, help="the first amplified epoch, from 0")
    parser.add_argument("--amplify-to", type=int, default=-1, help="the last amplified epoch")
    parser.add_argument("--ratio", type=float, default=0.5, help="the share of batch norms that each epoch draws")
    parser.add_argument("--factor", type=float, default=1.5)
    return parser.parse_args(arguments)


def cifar(folder: Path, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The images, uint8 [n, 3, 32, 32], and the labels, int64 [n], of binary CIFAR-10 files."""
    records = np.concatenate([np.fromfile(folder / name, dtype=np.uint8).reshape(-1, RECORD) for name in names])
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy())
    return images, torch.from_numpy(records[:, 0].astype(np.int64))


def normalise(images: Tensor) -> Tensor:
    """(pixel / 255 - mean) / deviation"""
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in NORMALISATION["CIFAR-10"])
    return (images.float() / 255 - mean) / deviation


def augment(padded: Tensor, chosen: Tensor) -> Tensor:
    """Random 32x32 crops of the chosen ones of images that are padded to 40x40, half of them mirrored."""
    n = len(chosen)
    top, left = torch.randint(0, 9, (n,)), torch.randint(0, 9, (n,))
    rows, columns = top[:, None] + torch.arange(32), left[:, None] + torch.arange(32)
    mirrored = torch.rand(n) < 0.5
    columns[mirrored] = columns[mirrored].flip(1)
    return padded[chosen[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def accuracy(model: nn.Module, images: Tensor, labels: Tensor, device: str) -> float:
    """The share of images that the model classifies correctly."""
    model.eval()
    with torch.no_grad():
        found = [model(normalise(part).to(device)).argmax(1).cpu() for part in images.split(500)]
    return (torch.cat(found) == labels).double().mean().item()


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains as the command line asks."""
    chosen = options(arguments)
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    draws = random.Random(chosen.seed)
    images, labels = cifar(chosen.data, [f"data_batch_{i}.bin" for i in range(1, 6)])
    padded, labels = functional.pad(images[: chosen.train_limit], (4, 4, 4, 4)), labels[: chosen.train_limit]
    test_images, test_labels = cifar(chosen.data, ["test_batch.bin"])

    model = build(chosen.model, chosen.width).to(chosen.device)
    norms = [name for name, module in model.named_modules() if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d))]
    optimizer = torch.optim.SGD(model.parameters(), lr=chosen.lr, momentum=0.9, weight_decay=5e-4)
    steps = len(labels) // chosen.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, chosen.epochs * steps)
    for epoch in range(chosen.epochs):
        drawn = draws.sample(norms, max(1, round(chosen.ratio * len(norms)))) if norms else []
        is_amplified = chosen.amplify_from <= epoch <= chosen.amplify_to
        model.train()
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(labels))[: steps * chosen.batch]
        with amplify(model, drawn, chosen.factor) if is_amplified else nullcontext():
            for batch in order.split(chosen.batch):
                optimizer.zero_grad(set_to_none=True)
                x = normalise(augment(padded, batch)).to(chosen.device)
                loss = functional.cross_entropy(model(x), labels[batch].to(chosen.device))
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
        result = {
            "epoch": epoch,
            "train_loss": round(total / steps, 4),
            "test_accuracy": accuracy(model, test_images, test_labels, chosen.device),
            "seconds": round(time.perf_counter() - start, 1),
            "amplified": is_amplified,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
