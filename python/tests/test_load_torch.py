"""`gradamp.load_torch` gives the network of a run: same names, same weights, same logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from support import fixtures, read_fixture, settings
from support import gradamp as run_program
from torch.nn import functional

import gradamp
from gradamp.models import build
from gradamp.peers import exact
from gradamp.peers.train import cifar as read_cifar
from gradamp.peers.train import normalise

TINY = {"data__source": "shapes", "data__shapes__train": 32, "data__shapes__test": 8, "train__batch_size": 16}


def train(folder: Path, name: str, **values: str | float) -> Path:
    run_program(
        *("train", "--preset", "baseline", "--epochs", "1", "--device", "cpu", "--quiet", "--out", name),
        *settings(**{**TINY, **values}),
        folder=folder,
    )
    return folder / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, cifar: Path) -> Path:
    """A run on images in the form of CIFAR-10, whose test images Python reads too."""
    return train(
        tmp_path_factory.mktemp("trained"),
        "run",
        model__width=4,
        model__activation="tanh",
        data__source="cifar10",
        data__path=cifar,
        data__train_limit=640,
        train__batch_size=64,
    )


def test_the_logits_are_those_of_the_program(trained: Path, cifar: Path) -> None:
    images, labels = read_cifar(cifar, ["test_batch.bin"])
    model = gradamp.load_torch(trained)
    assert not model.training
    with torch.no_grad():
        logits = torch.cat([model(part) for part in normalise(images).split(1000)])
    evaluation = gradamp.runs(trained).evaluations.iloc[-1]
    assert evaluation.split == "test"
    assert functional.cross_entropy(logits, labels).item() == pytest.approx(evaluation.loss, rel=1e-5)
    hits = torch.tensor(evaluation.hits, dtype=torch.bool)
    assert evaluation.accuracy > 0.15, "a network that learned nothing would show little"
    # Two almost equal logits of an image may change their order by rounding.
    assert ((logits.argmax(1) == labels) != hits).sum() <= 2


def test_the_last_checkpoint_is_another_one(trained: Path) -> None:
    evaluated = json.loads(run_program("eval", "--run", "run", "--last", "--json", folder=trained.parent))
    assert evaluated["accuracy"] == gradamp.runs(trained).table.test_accuracy[0]
    best, last = gradamp.load_torch(trained), gradamp.load_torch(trained, checkpoint="last")
    assert best.state_dict().keys() == last.state_dict().keys()
    with pytest.raises(gradamp.RunError, match="checkpoint: expected best or last, found 'first'"):
        gradamp.load_torch(trained, checkpoint="first")


@pytest.mark.parametrize(
    "model",
    [
        {"name": "vgg11", "repeat": 2},
        {"name": "vgg13", "norm": "none", "activation": "sigmoid"},
        {"name": "vgg16"},
        {"name": "vgg19", "norm": "none", "activation": "tanh"},
        {"name": "resnet18", "skip": "false"},
        {"name": "resnet18", "norm": "none", "activation": "tanh"},
        {"name": "resnet34"},
        {"name": "mlp", "depth": 3, "norm": "batch", "activation": "relu"},
        {"name": "mlp"},
        {"name": "mlp", "dropout": 0.25},
        {"name": "vgg11", "dropout": 0.5},
        {"name": "resnet18", "dropout": 0.5, "stochastic_depth": 0.2},
    ],
    ids=lambda model: "-".join(map(str, model.values())),
)
def test_every_network_is_loaded(tmp_path: Path, model: dict) -> None:
    run = train(tmp_path, "run", **{f"model__{key}": value for key, value in model.items()}, model__width=3)
    loaded = gradamp.load_torch(run)
    record = json.loads((run / "run.json").read_text())
    assert sum(w.numel() for w in loaded.parameters()) == record["parameters"]
    with torch.no_grad():
        assert loaded(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    names = {name for name, _ in loaded.named_modules()}
    sites = set(gradamp.runs(run).gradients.site)
    assert sites
    assert sites <= names, "each of gradamp's sites is a module"


@pytest.mark.parametrize("path", fixtures(), ids=lambda path: path.stem)
def test_logits_in_evaluation_mode_are_those_of_the_fixtures(path: Path) -> None:
    case, tensors = read_fixture(path)
    model = exact.network(case)
    model.load_state_dict({k.removeprefix("final."): v for k, v in tensors.items() if k.startswith("final.")})
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(tensors["x"]), tensors["eval.logits"])


def test_weights_return_to_the_program(trained: Path, cifar: Path) -> None:
    """PyTorch's weights are evaluated by the program."""
    from safetensors.torch import save_file

    model = gradamp.load_torch(trained)
    save_file(model.state_dict(), trained.parent / "from-torch.safetensors")
    arguments = ("eval", "--checkpoint", "from-torch.safetensors", "--activation", "tanh", "--data", cifar, "--json")
    evaluated = json.loads(run_program(*arguments, folder=trained.parent))
    assert evaluated["accuracy"] == gradamp.runs(trained).table.test_accuracy_at_best[0]
    # A run that begins with them is loaded as any other.
    begun = train(
        trained.parent, "begun", model__width=4, model__activation="tanh", model__init=trained.parent / "from-torch.safetensors"
    )
    assert gradamp.load_torch(begun).conv1.weight.shape == model.conv1.weight.shape


def test_a_run_that_began_with_another_programs_names_is_loaded(tmp_path: Path) -> None:
    """Its settings `init_names` and `init_skip` concern the initial weights only."""
    from safetensors.torch import save_file

    theirs = {
        name.replace("linear.", "fc.").replace("shortcut.", "downsample."): tensor
        for name, tensor in build("resnet18", width=4).state_dict().items()
    }
    save_file(theirs, tmp_path / "theirs.safetensors")
    run = train(
        tmp_path,
        "run",
        model__name="resnet18",
        model__width=4,
        model__init=tmp_path / "theirs.safetensors",
        model__init_names="timm",
        model__init_skip="['linear.*']",
    )
    assert gradamp.load_torch(run).linear.weight.shape == (10, 32)


@pytest.fixture
def run(work: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(work / "single", tmp_path / "run"))


def test_a_damaged_checkpoint_is_named(run: Path) -> None:
    weights = run / "checkpoints/best/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
    with pytest.raises(gradamp.RunError, match="model.safetensors: is changed: expected SHA-256"):
        gradamp.load_torch(run)
    weights.write_bytes(whole[:100])
    with pytest.raises(gradamp.RunError, match="model.safetensors: is truncated or changed"):
        gradamp.load_torch(run)
    weights.unlink()
    with pytest.raises(gradamp.RunError, match="model.safetensors: is missing"):
        gradamp.load_torch(run)
    shutil.rmtree(weights.parent)
    with pytest.raises(gradamp.RunError, match="best/state.json: is missing"):
        gradamp.load_torch(run)


def test_networks_that_this_package_does_not_have_are_refused(run: Path, work: Path) -> None:
    config = run / "config.toml"
    whole = config.read_text()
    record = json.loads((run / "run.json").read_text())
    del record["sha256"], record["config"]
    (run / "run.json").write_text(json.dumps(record))
    for right, wrong, message in [
        ('name = "mlp"', 'name = "leaky"', "model.name: expected vgg11, .*, mlp, found 'leaky', which another program"),
        ('name = "mlp"', 'name = "mlp"\nhat = "red"', "model.hat: is unknown to this version of the package"),
        ("depth = 2", "depth = 3", "model.safetensors: does not hold the network of .*config.toml: .*fc3.weight"),
        ("depth = 2", 'activation = "swish"\ndepth = 2', "expected relu, tanh, sigmoid, found 'swish'"),
    ]:
        assert right in whole
        config.write_text(whole.replace(right, wrong, 1))
        with pytest.raises(gradamp.RunError, match=f"(?s){message}"):
            gradamp.load_torch(run)
    with pytest.raises(gradamp.RunError, match="factors: expected the folder of a run, found a sweep"):
        gradamp.load_torch(work / "factors")
    with pytest.raises(gradamp.RunError, match="nothing: expected the folder of a run, found no such folder"):
        gradamp.load_torch(work / "nothing")


def test_what_is_dropped_in_training_is_not_in_evaluation() -> None:
    torch.manual_seed(0)
    model = build("resnet18", width=2, dropout=0.5, stochastic_depth=0.5)
    assert [block.skipped for block in (model.layer1[0], model.layer4[1])] == [0.5 / 8, 0.5]
    x = torch.randn(4, 3, 32, 32)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))
    # A block whose branch is always left out passes on its input; the mean over many steps is that of evaluation.
    block = model.layer4[1].train()
    y = torch.rand(1, 16, 2, 2).expand(4000, -1, -1, -1)
    branch = block.bn2.register_forward_hook(lambda _module, _inputs, y: torch.ones_like(y))
    found = block(y)
    branch.remove()
    left_out = torch.isclose(found, y).all(dim=(1, 2, 3)).double().mean()
    assert abs(left_out - 0.5) < 0.05
    torch.testing.assert_close(found.mean(0), y[0] + 1.0, rtol=0.05, atol=0.05)


def test_a_network_takes_standard_values() -> None:
    assert [type(module).__name__ for module in build("mlp", width=2, depth=1)] == ["Flatten", "Linear", "Sigmoid", "Linear"]
    with pytest.raises(ValueError, match="name: expected vgg11, .*, found 'resnet19'"):
        build("resnet19")
    with pytest.raises(ValueError, match="norm: expected batch, none, found 'layer'"):
        build("vgg11", norm="layer")
