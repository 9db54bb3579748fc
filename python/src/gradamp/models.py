"""gradamp's networks in PyTorch: VGG, ResNet and MLP with the names of gradamp's parameters and sites.

Every layer is a module, so that each of gradamp's sites is found under its name (`layer2.0.bn1`, `features.4`, `act3`). All networks
take images `[n, channels, h, w]` and give logits `[n, classes]`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
NORMS = ("batch", "none")
#: The number of convolutions in each of the five stages.
VGG = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
#: The number of blocks in each of the four stages.
RESNET = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3)}
NAMES = (*VGG, *RESNET, "mlp")


def build(
    name: str,
    width: int = 64,
    classes: int = 10,
    *,
    norm: str | None = None,
    activation: str | None = None,
    skip: bool = True,
    depth: int = 6,
    repeat: int = 1,
    dropout: float = 0.0,
    stochastic_depth: float = 0.0,
    channels: int = 3,
    pixels: int = 32,
) -> nn.Sequential:
    """A network with PyTorch's initial weights.

    Arguments:
        name: `vgg11`, `vgg13`, `vgg16`, `vgg19`, `resnet18`, `resnet34` or `mlp`.
        width: the channels of the first stage, which those of all stages are proportional to, or the units of an MLP's layers.
        classes: the number of classes.
        norm: `batch`, or `none` for a network without batch norms. Standard: `none` for an MLP, else `batch`.
        activation: `relu`, `tanh` or `sigmoid`. Standard: `sigmoid` for an MLP, else `relu`.
        skip: whether the blocks of a ResNet add their input to their output.
        depth: the hidden layers of an MLP.
        repeat: how many times a VGG has each of its convolutions.
        dropout: the probability with which each feature that the classifier reads is dropped in training.
        stochastic_depth: the probability with which the last block of a ResNet is skipped for an image in training. It grows
            linearly over the blocks.
        channels: the channels of the images.
        pixels: the height and width of an MLP's images, or the longer side of a VGG's. A VGG for more than 63 pixels ends with a mean
            over all pixels.

    Errors: `ValueError` for a value that is none of these.

    Example:
        >>> from gradamp.models import build
        >>> build("resnet18", width=16).get_submodule("layer2.0.bn1").num_features
        32
    """
    is_mlp = name == "mlp"
    norm = norm or ("none" if is_mlp else "batch")
    activation = activation or ("sigmoid" if is_mlp else "relu")
    for key, found, expected in (
        ("name", name, NAMES),
        ("norm", norm, NORMS),
        ("activation", activation, tuple(ACTIVATIONS)),
    ):
        if found not in expected:
            raise ValueError(f"{key}: expected {', '.join(expected)}, found {found!r}")
    if is_mlp:
        return _mlp(channels * pixels * pixels, width, classes, norm, activation, depth, dropout)
    if name in VGG:
        return _vgg(VGG[name], channels, pixels, width, classes, norm, activation, repeat, dropout)
    return _resnet(RESNET[name], channels, width, classes, norm, activation, skip, dropout, stochastic_depth)


def _named(layers: Iterable[tuple[str, nn.Module | None]]) -> nn.Sequential:
    """The layers in a row; `None` stands for a layer that the settings leave out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers if layer is not None))


def _dropout(p: float) -> nn.Module | None:
    return nn.Dropout(p) if p > 0 else None


def _mlp(inputs: int, width: int, classes: int, norm: str, activation: str, depth: int, dropout: float) -> nn.Sequential:
    layers: list[tuple[str, nn.Module | None]] = [("flatten", nn.Flatten())]
    for i in range(1, depth + 1):
        layers.append((f"fc{i}", nn.Linear(inputs if i == 1 else width, width)))
        layers.append((f"bn{i}", nn.BatchNorm1d(width) if norm == "batch" else None))
        layers.append((f"act{i}", ACTIVATIONS[activation]()))
    return _named([*layers, ("dropout", _dropout(dropout)), ("classifier", nn.Linear(width, classes))])


def _vgg(
    stages: Iterable[int],
    channels: int,
    pixels: int,
    width: int,
    classes: int,
    norm: str,
    activation: str,
    repeat: int,
    dropout: float,
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for convolutions, multiple in zip(stages, (1, 2, 4, 8, 8)):
        for _ in range(repeat * convolutions):
            layers.append(nn.Conv2d(channels, multiple * width, 3, padding=1))
            channels = multiple * width
            if norm == "batch":
                layers.append(nn.BatchNorm2d(channels))
            layers.append(ACTIVATIONS[activation]())
        layers.append(nn.MaxPool2d(2))
    classifier = nn.Linear(channels, classes)
    # Five max pools leave one pixel of an image of at most 63 pixels.
    avgpool = nn.AdaptiveAvgPool2d(1) if pixels > 63 else None
    features = [("features", nn.Sequential(*layers)), ("avgpool", avgpool), ("flatten", nn.Flatten())]
    return _named([*features, ("dropout", _dropout(dropout)), ("classifier", classifier)])


def _conv(c_in: int, c: int, kernel: int, stride: int, norm: str) -> nn.Conv2d:
    """A convolution that keeps the image's size at stride 1. It has a bias if no batch norm follows."""
    return nn.Conv2d(c_in, c, kernel, stride, padding=kernel // 2, bias=norm == "none")


def _norm(c: int, norm: str) -> nn.Module | None:
    return nn.BatchNorm2d(c) if norm == "batch" else None


def _resnet(
    stages: Sequence[int],
    channels: int,
    width: int,
    classes: int,
    norm: str,
    activation: str,
    skip: bool,
    dropout: float,
    stochastic_depth: float,
) -> nn.Sequential:
    act = "relu" if activation == "relu" else "act"
    layers: list[tuple[str, nn.Module | None]] = [
        ("conv1", _conv(channels, width, 3, 1, norm)),
        ("bn1", _norm(width, norm)),
        (f"{act}1", ACTIVATIONS[activation]()),
    ]
    c_in, number = width, 0
    for stage, blocks in enumerate(stages):
        c = width * 2**stage
        row: list[nn.Module] = []
        for block in range(blocks):
            # The first block of every stage but the first halves the image.
            stride = 2 if stage > 0 and block == 0 else 1
            number += 1
            row.append(Block(c_in, c, stride, norm, activation, skip, stochastic_depth * number / sum(stages)))
            c_in = c
        layers.append((f"layer{stage + 1}", nn.Sequential(*row)))
    layers += [("avgpool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()), ("dropout", _dropout(dropout))]
    return _named([*layers, ("linear", nn.Linear(c_in, classes))])


class Block(nn.Module):
    """y = act(bn2(conv2(act(bn1(conv1(x))))) + shortcut(x))

    The shortcut is x itself, or a 1x1 convolution with a batch norm where the shapes of x and y differ. Without `skip` nothing is
    added. In training, the branch of each image is left out with the probability `skipped`, and divided by 1 - skipped otherwise.
    """

    def __init__(self, c_in: int, c: int, stride: int, norm: str, activation: str, skip: bool, skipped: float = 0.0) -> None:
        super().__init__()
        act = "relu" if activation == "relu" else "act"
        layers = [
            ("conv1", _conv(c_in, c, 3, stride, norm)),
            ("bn1", _norm(c, norm)),
            (f"{act}1", ACTIVATIONS[activation]()),
            ("conv2", _conv(c, c, 3, 1, norm)),
            ("bn2", _norm(c, norm)),
            (f"{act}2", ACTIVATIONS[activation]()),
        ]
        self.order = [name for name, layer in layers if layer is not None]
        for name in self.order:
            self.add_module(name, dict(layers)[name])
        self.skip, self.skipped = skip, skipped
        if skip and (stride != 1 or c_in != c):
            projection = [_conv(c_in, c, 1, stride, norm), _norm(c, norm)]
            self.shortcut = nn.Sequential(*(layer for layer in projection if layer is not None))

    def forward(self, x: Tensor) -> Tensor:
        """x `[n, c_in, h, w]`, y `[n, c, h/stride, w/stride]`, rounded up."""
        *inner, last = self.order
        y = x
        for name in inner:
            y = self.get_submodule(name)(y)
        if self.training and self.skipped > 0:
            y = y * (torch.rand(len(y), 1, 1, 1, device=y.device) >= self.skipped) / (1 - self.skipped)
        if self.skip:
            y = y + (self.shortcut(x) if hasattr(self, "shortcut") else x)
        return self.get_submodule(last)(y)
