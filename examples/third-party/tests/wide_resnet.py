"""A wide residual network in PyTorch, and the files of `wide_resnet.rs`.

The files hold its weights, and images with their logits and gradients: `pip install torch safetensors`, then
`python wide_resnet.py`.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, c, c_out, stride, f):
        super().__init__()
        self.f = f
        self.bn1 = nn.BatchNorm2d(c)
        self.conv1 = nn.Conv2d(c, c_out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        if c != c_out or stride > 1:
            self.shortcut = nn.Conv2d(c, c_out, 1, stride, bias=False)

    def forward(self, x):
        y = self.f(self.bn1(x))
        skipped = self.shortcut(y) if hasattr(self, "shortcut") else x
        return self.conv2(self.f(self.bn2(self.conv1(y)))) + skipped


class WideResNet10(nn.Module):
    def __init__(self, width, classes, f):
        super().__init__()
        self.f = f
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.group1 = nn.Sequential(Block(16, width, 1, f))
        self.group2 = nn.Sequential(Block(width, 2 * width, 2, f))
        self.group3 = nn.Sequential(Block(2 * width, 4 * width, 2, f))
        self.bn = nn.BatchNorm2d(4 * width)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x):
        x = self.group3(self.group2(self.group1(self.conv1(x))))
        return self.linear(self.f(self.bn(x)).mean((2, 3)))


def main():
    torch.manual_seed(0)
    relu, gelu = functional.relu, lambda x: functional.gelu(x, approximate="tanh")
    model = WideResNet10(2, 3, relu)
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 2, 1, 1])
    results = {"images": images.permute(0, 2, 3, 1), "labels": labels.float()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    for name, f in [("relu", relu), ("gelu", gelu)]:
        model.load_state_dict(weights)
        for module in model.modules():
            if hasattr(module, "f"):
                module.f = f
        model.zero_grad()
        logits = model(images)
        functional.cross_entropy(logits, labels).backward()
        results[f"{name}.logits"] = logits
        results[f"{name}.gradient"] = model.linear.weight.grad.t()
        results[f"{name}.first_gradient"] = model.conv1.weight.grad.permute(2, 3, 1, 0)
    folder = Path(__file__).parent
    save_file({name: value.contiguous() for name, value in weights.items()}, folder / "wide_resnet.safetensors")
    save_file(
        {name: value.detach().contiguous() for name, value in results.items()},
        folder / "wide_resnet_step.safetensors",
    )


if __name__ == "__main__":
    main()
