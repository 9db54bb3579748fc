"""The programs that docs/ compares gradamp with run, and do what they say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import fixtures, read_fixture

import gradamp
from gradamp.peers import exact, step, train


def test_the_fixtures_come_from_their_seeds() -> None:
    """A stranger who runs `gradamp.peers.exact` gets the fixtures of this project."""
    sgd = {case["name"]: {**exact.COMMON, **exact.SGD, **case} for case in exact.built_in("sgd")}
    adamw = {case["name"]: {**exact.COMMON, **exact.ADAMW, **case} for case in exact.built_in("adamw")}
    for path in fixtures():
        case, tensors = read_fixture(path)
        init, x, y = exact.batch(case)
        assert torch.equal(x, tensors["x"])
        assert torch.equal(y, tensors["y"])
        for name, value in init.items():
            torch.testing.assert_close(value, tensors[f"init.{name}"], rtol=1e-6, atol=1e-7)
        assert {**sgd, **adamw}[case["name"]] == case


def test_exact_writes_a_fixture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = [{"name": "small", "model": "mlp", "width": 4, "depth": 2, "factor": 4.0, "sites": ["act1"], "batch": 2}]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    for optimizer in ("sgd", "adamw"):
        exact.main([str(tmp_path / optimizer), str(tmp_path / "cases.json"), "--optimizer", optimizer])
        assert capsys.readouterr().out.startswith("small: seed 7, losses 2.")
        case, tensors = read_fixture(tmp_path / optimizer / "small.safetensors")
        assert case["steps"] == (3 if optimizer == "adamw" else 2)
        assert ("momentum" in case, "betas" in case) == (optimizer == "sgd", optimizer == "adamw")
        assert f"step{case['steps']}.loss" in tensors
        assert {"x", "y", "eval.logits", "step1.grad.fc1.weight", "init.fc1.bias", "final.classifier.bias"} <= set(tensors)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_each_built_in_case_takes_its_steps(optimizer: str) -> None:
    for case in exact.built_in(optimizer):
        own = exact.ADAMW if optimizer == "adamw" else exact.SGD
        case = {**exact.COMMON, **own, **case}
        init, x, y = exact.batch(case)
        found = exact.steps(case, init, x, y, torch.float32)
        assert exact.agree(exact.steps(case, init, x, y, torch.float64), found), case["name"]


def test_adamw_takes_the_step_of_its_formula() -> None:
    """w <- (1 - lr * weight_decay) * w - lr * m / (sqrt(v) + epsilon), with m = g and v = g^2 in the first step."""
    case = {**exact.COMMON, **exact.ADAMW, "model": "mlp", "width": 4, "depth": 2, "steps": 1, "sites": ["act1"], "factor": 9.0}
    init, x, y = exact.batch(case)
    found = exact.steps(case, init, x, y, torch.float64)
    for name, w in init.items():
        g = found[f"step1.grad.{name}"]
        expected = (1 - case["lr"] * case["weight_decay"]) * w.double() - case["lr"] * g / (g.abs() + case["epsilon"])
        torch.testing.assert_close(found[f"final.{name}"], expected)


def test_a_case_that_depends_on_rounding_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias before a batch norm has no gradient but rounding, which AdamW divides by itself."""
    monkeypatch.setattr(exact, "SEEDS", 2)
    case = {"name": "bias", "optimizer": "adamw", "model": "mlp", "width": 8, "depth": 1, "norm": "batch", "lr": 0.1}
    with pytest.raises(RuntimeError, match="bias: each of 2 seeds depends on rounding"):
        exact.fixture(case)


def test_step_takes_the_options_of_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    small = "--width 2 --batch 4 --threads 1 --steps 1 --warmup 0"
    for options in ("--model resnet18 --channels-last", "--model vgg19 --no-tf32 --amplify", "--model mlp --amp"):
        step.main(f"{options} {small}".split())
        result = json.loads(capsys.readouterr().out)
        assert result["seconds_per_step"] > 0
        assert result["images_per_second"] == pytest.approx(4 / result["seconds_per_step"], rel=0.01)
        assert 1 < result["loss"] < 10


def test_train_takes_the_options_of_the_docs(cifar: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = (
        "--width 2 --epochs 2 --train-limit 256 --batch 32 --threads 1 --amplify-from 1 --amplify-to 1 --ratio 0.5 --factor 1.5"
    )
    train.main(["--data", str(cifar), *options.split()])
    epochs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [epoch["amplified"] for epoch in epochs] == [False, True]
    assert epochs[1]["train_loss"] < epochs[0]["train_loss"]


def test_crops_and_flips_are_those_of_one_image_at_a_time() -> None:
    images = torch.randint(0, 256, (9, 3, 40, 40), dtype=torch.uint8)
    chosen = torch.tensor([3, 3, 8, 0])
    torch.manual_seed(5)
    found = train.augment(images, chosen)
    torch.manual_seed(5)
    top, left, mirrored = torch.randint(0, 9, (4,)), torch.randint(0, 9, (4,)), torch.rand(4) < 0.5
    assert mirrored.any()
    assert not mirrored.all()
    for n in range(4):
        image = images[chosen[n], :, top[n] : top[n] + 32, left[n] : left[n] + 32]
        assert torch.equal(found[n], image.flip(2) if mirrored[n] else image)


def test_normalisation_gives_the_constants_their_places() -> None:
    mean, deviation = gradamp.NORMALISATION["CIFAR-10"]
    white = train.normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten()
    torch.testing.assert_close(white, torch.tensor([(1 - m) / d for m, d in zip(mean, deviation)]))
