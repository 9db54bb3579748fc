"""The network of a run in PyTorch."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .files import Row, RunError, check_seal, read_bytes, read_json
from .folders import CHECKPOINTS, Folder, PathLike, one

if TYPE_CHECKING:
    import torch

#: The mean and the standard deviation of each channel, for pixels from 0 to 1, by the name of the data set in `run.json`. The network
#: of a run expects images `[n, channels, h, w]` that are (pixel / 255 - mean) / deviation. Other data sets are normalised by the mean and
#: deviation of their training images, which `normalisation` reads from a run.
NORMALISATION = {
    "CIFAR-10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "CIFAR-100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "MNIST": ((0.1307,), (0.3081,)),
    "Fashion-MNIST": ((0.2860,), (0.3530,)),
    "shapes": ((0.5, 0.5, 0.5), (0.24, 0.24, 0.24)),
}
#: The settings of a network that say what it computes, and those that only concern its initial weights.
STRUCTURE = ("norm", "activation", "skip", "depth", "repeat", "dropout", "stochastic_depth")
INITIAL = ("initial", "gain", "init", "init_names", "init_skip")


def load_torch(run: PathLike, checkpoint: str = "best") -> torch.nn.Module:
    """The network of a run as a PyTorch module on the CPU, in evaluation mode, with the weights of a checkpoint.

    The module takes normalised images `[n, channels, h, w]` (see `NORMALISATION`) and gives logits `[n, classes]`. Its parameters
    have the names of gradamp's; its modules have the names of gradamp's sites, so that `amplify` takes the sites of a run's draws.

    Arguments:
        run: the folder of a run.
        checkpoint: `best` or `last`.

    Errors: `RunError` if there is no such run or checkpoint, a file is damaged, or the run trained a network that another program
    added to gradamp. `ImportError` if torch or safetensors is not installed.

    Example:
        >>> import gradamp
        >>> model = gradamp.load_torch("runs/my-run")      # doctest: +SKIP
        >>> logits = model(images)                         # doctest: +SKIP
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from .models import build

    folder = one(run)
    if checkpoint not in CHECKPOINTS:
        raise RunError(f"{folder.path}: checkpoint: expected best or last, found {checkpoint!r}")
    state = folder.path / "checkpoints" / checkpoint / "state.json"
    path = state.with_name("model.safetensors")
    files = read_json(state).get("files") or {}
    content = read_bytes(path)
    check_seal(path, content, files.get(path.name))
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise RunError(f"{path}: is damaged: {error}") from None
    try:
        settings = _structure(folder)
        model = build(**settings, **_sizes(settings["name"], tensors, folder))
        model.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise RunError(f"{path}: does not hold the network of {folder.path / 'config.toml'}: {error}") from error
    return model.eval()


def normalisation(run: PathLike) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the standard deviation of each channel with which the images of a run were normalised, for pixels from 0 to 1.

    Arguments:
        run: the folder of a run.

    Errors: `RunError` if there is no such run, or if an earlier version of gradamp, which did not record the numbers, trained it on a
    data set that `NORMALISATION` does not name.

    Example:
        >>> import gradamp
        >>> mean, deviation = gradamp.normalisation("runs/my-run")      # doctest: +SKIP
    """
    folder = one(run)
    recorded = folder.record.get("normalisation")
    if recorded:
        return tuple(recorded["mean"]), tuple(recorded["std"])
    dataset = folder.record.get("dataset")
    if dataset not in NORMALISATION:
        raise RunError(f"{folder.path / 'run.json'}: normalisation: is missing, and the data set {dataset!r} is unknown")
    return NORMALISATION[dataset]


def _structure(folder: Folder) -> Row:
    """The arguments of `build` that config.toml holds."""
    from .models import NAMES

    place = folder.path / "config.toml"
    settings = dict(folder.settings.get("model", {}))
    if settings.get("name") not in NAMES:
        expected = f"expected {', '.join(NAMES)}, found {settings.get('name')!r}"
        raise RunError(f"{place}: model.name: {expected}, which another program may have added to gradamp")
    unknown = settings.keys() - {"name", "width", *STRUCTURE, *INITIAL}
    if unknown:
        raise RunError(f"{place}: model.{min(unknown)}: is unknown to this version of the package gradamp")
    return {key: value for key, value in settings.items() if key not in INITIAL}


def _sizes(name: str, tensors: dict[str, torch.Tensor], folder: Folder) -> Row:
    """The arguments of `build` that follow from the shapes of the tensors, and from the images that `run.json` names."""
    first, last = ("conv1", "linear") if name.startswith("resnet") else ("features.0", "classifier")
    classes = tensors[f"{last}.weight"].shape[0]
    if name == "mlp":
        return {"classes": classes, "channels": tensors["fc1.weight"].shape[1], "pixels": 1}
    # run.json names images of another shape than CIFAR's: `vgg11 of width 64 with 10 classes, image 64x48x3`.
    image = re.search(r", image (\d+)x(\d+)x", str(folder.record.get("model")))
    pixels = max(map(int, image.groups())) if image else 32
    return {"classes": classes, "channels": tensors[f"{first}.weight"].shape[1], "pixels": pixels}
