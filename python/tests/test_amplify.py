"""The gradients of `gradamp.amplify` are those of gradamp: both reproduce PyTorch's fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import fixtures, read_fixture
from torch import nn
from torch.nn import functional

import gradamp
from gradamp.peers import exact

#: As in tests/tests/pytorch_parity/errors.rs.
LIMITS = {"loss": 1e-4, "grad": 1e-4, "logits": 1e-3, "final": 1e-3, "eval": 1e-2}


def errors(expected: dict, found: dict) -> dict[str, float]:
    """The largest difference of each kind, relative to the norm of each tensor of the fixture."""
    largest: dict[str, float] = {}
    for name, tensor in found.items():
        if name.endswith("num_batches_tracked"):
            assert tensor == expected[name]
            continue
        kind = next(kind for kind in ("grad", "loss", "final", "eval", "logits") if kind in name.split("."))
        size = expected[name].norm()
        if kind == "grad" and name.endswith("bias"):  # zero but for rounding before a batch norm
            weight = expected.get(name.removesuffix("bias") + "weight")
            size = size if weight is None else torch.hypot(size, weight.norm())
        error = ((tensor - expected[name]).norm() / size.clamp(min=1e-12)).item()
        largest[kind] = max(largest.get(kind, 0.0), error)
    return largest


def beyond(errors: dict[str, float]) -> dict[str, float]:
    return {kind: error for kind, error in errors.items() if error > LIMITS[kind]}


@pytest.mark.parametrize("path", fixtures(), ids=lambda path: path.stem)
def test_amplified_steps_are_those_of_the_fixtures(path: Path) -> None:
    case, tensors = read_fixture(path)
    init = {name.removeprefix("init."): value for name, value in tensors.items() if name.startswith("init.")}
    found = exact.steps(case, init, tensors["x"], tensors["y"], torch.float32)
    assert not beyond(errors(tensors, found))


@pytest.mark.parametrize(
    "change",
    [{"factor": 1.001 * 2}, {"placement": "input"}, {"sites": ["bn1"]}, {"sites": ["conv1"], "placement": "params"}],
    ids=str,
)
def test_a_wrong_setting_is_beyond_the_limits(change: dict) -> None:
    path = next(path for path in fixtures() if path.stem == "resnet18_output")
    case, tensors = read_fixture(path)
    init = {name.removeprefix("init."): value for name, value in tensors.items() if name.startswith("init.")}
    found = exact.steps({**case, **change}, init, tensors["x"], tensors["y"], torch.float32)
    assert beyond(errors(tensors, found))


class Branches(nn.Module):
    """y = last(first(x) + side(first(x)))"""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.side, self.last = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.last(y + self.side(y))


def gradients(model: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    functional.cross_entropy(model(x), torch.tensor([0, 1])).backward()
    return {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}


@pytest.mark.parametrize(
    ("placement", "side", "own"),
    # The gradient of `first` is the sum of two branches; only that through `side` is amplified.
    [("output", 3.0, 3.0), ("input", 3.0, 1.0), ("params", 1.0, 3.0)],
)
def test_each_placement_multiplies_what_it_says(placement: str, side: float, own: float) -> None:
    torch.manual_seed(0)
    model, x = Branches(), torch.randn(2, 3)
    plain = gradients(model, x)
    with torch.no_grad():  # what arrives at first, by branch
        dy = torch.autograd.functional.jacobian(
            lambda w: functional.cross_entropy(nn.functional.linear(w, model.last.weight, model.last.bias), torch.tensor([0, 1])),
            model.first(x) + model.side(model.first(x)),
        )
    expected_first = (dy + side * dy @ model.side.weight).T @ x
    with gradamp.amplify(model, "side", 3.0, placement):
        found = gradients(model, x)
    torch.testing.assert_close(found["first.weight"], expected_first)
    torch.testing.assert_close(found["side.weight"], own * plain["side.weight"])
    torch.testing.assert_close(found["last.weight"], plain["last.weight"])
    torch.testing.assert_close(gradients(model, x)["first.weight"], plain["first.weight"])  # switched off


def test_factors_compound_and_handles_are_removed_each_by_itself() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    x = torch.randn(2, 3)
    plain = gradients(model, x)["0.weight"]
    both = gradamp.amplify(model, ["1", "3"], 2.0)
    again = gradamp.amplify(model, ["?"], 3.0, "output")
    assert (both.sites, again.sites) == (["1", "3"], ["0", "1", "2", "3", "4"])
    torch.testing.assert_close(gradients(model, x)["0.weight"], 4 * 3**5 * plain)
    again.remove()
    torch.testing.assert_close(gradients(model, x)["0.weight"], 4 * plain)
    both.remove()
    both.remove()
    torch.testing.assert_close(gradients(model, x)["0.weight"], plain)


@pytest.mark.parametrize("placement", ["output", "input"])
def test_layers_that_work_in_place_are_amplified_once(placement: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    x = torch.randn(2, 3)
    plain = gradients(model, x)
    for site in ("1", "2"):
        with gradamp.amplify(model, site, 2.0, placement):
            found = gradients(model, x)
        torch.testing.assert_close(found["0.weight"], 2 * plain["0.weight"], msg=site)
        own = 2.0 if (site, placement) in {("1", "output"), ("2", "output"), ("2", "input")} else 1.0
        torch.testing.assert_close(found["1.weight"], own * plain["1.weight"], msg=site)


def test_forward_passes_without_gradients_stay_as_they_are() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    x = torch.randn(4, 3)
    expected = model(x)
    with torch.no_grad(), gradamp.amplify(model, "*", 5.0):
        assert torch.equal(model(x), expected)


def test_sites_are_names_and_patterns_as_in_the_settings() -> None:
    model = gradamp.models.build("resnet18", width=2)
    count = {
        "bn1": 1,
        "*": 10,
        "layer?.*.bn1": 8,
        "layer1.**": 14,
        "layer2.0.shortcut.*": 2,
        "**.relu?": 16,
    }
    for site, expected in count.items():
        assert len(gradamp.amplify(model, site, 1.0).sites) == expected, site


def test_mistakes_are_named() -> None:
    model = gradamp.models.build("mlp", width=2, depth=1)
    with pytest.raises(ValueError, match="sites: no module of the model matches 'act2'"):
        gradamp.amplify(model, ["act1", "act2"], 2.0)
    with pytest.raises(ValueError, match="sites: act1 has no parameters"):
        gradamp.amplify(model, ["fc1", "act1"], 2.0, "params")
    with pytest.raises(ValueError, match="placement: expected output, input, params, found 'inwith'"):
        gradamp.amplify(model, "act1", 2.0, "inwith")
    with pytest.raises(ValueError, match="factor: expected a finite number, found nan"):
        gradamp.amplify(model, "act1", float("nan"))
    assert all(not (m._forward_hooks or m._forward_pre_hooks) for m in model.modules())
    assert all(not w._backward_hooks for w in model.parameters())
    tuples = nn.Sequential(nn.LSTM(2, 2))
    with gradamp.amplify(tuples, "0", 2.0), pytest.raises(TypeError, match="whose output is a tensor, found tuple"):
        tuples(torch.ones(1, 2))
