"""Runs as pandas DataFrames."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .files import Convert, Row, RunError, convert, flag, hits, list_of, number, read_lines, text, whole
from .folders import Folder, PathLike, find

if TYPE_CHECKING:
    import pandas as pd

EPOCH = {
    "epoch": whole,
    "step": whole,
    "phase": whole,
    "lr": number,
    "amplified": flag,
    "train_loss": number,
    "train_accuracy": number,
    "test_loss": number,
    "test_accuracy": number,
    "best": flag,
}
EPOCH_OPTIONAL = {
    "validation_loss": number,
    "validation_accuracy": number,
    "attenuation": number,
    "skipped_steps": number,
    "images_per_second": number,
    "seconds": number,
    "total_seconds": number,
}
STEP = {"epoch": whole, "step": whole, "phase": whole, "lr": number, "amplified": flag, "loss": number}
STEP_OPTIONAL = {"accuracy": number, "gradient_norm": number, "loss_scale": number, "seconds": number}
EVALUATION = {
    "epoch": whole,
    "split": text,
    "loss": number,
    "accuracy": number,
    "confusion": list_of(list_of(whole)),
    "hits": hits,
}
DRAW = {"epoch": whole, "step": whole, "sites": list_of(text), "factors": list_of(number), "placement": text}
GRADIENT = {"epoch": whole, "step": whole, "site": text, "steps": whole, "norm_before": number, "norm_after": number}
GRADIENT_OPTIONAL = dict.fromkeys(
    [
        *("mean_magnitude_before", "mean_magnitude_after", "zeros", "update_ratio", "output_mean", "output_deviation"),
        *("saturated", "gradient_square", "gradient_variance", "signal_to_noise", "angular_update"),
    ],
    number,
)


def runs(*paths: PathLike) -> Runs:
    """The runs that `paths` stand for, as DataFrames.

    A path is a run's folder, a sweep's folder, a folder that contains runs, or a pattern with `*` or `?`. Runs of a sweep that have
    not begun are left out. The logs are read when a table is asked for; call `runs` again to read what a run that goes on has
    written since.

    Errors: `RunError` if a path is none of these; `ImportError` if pandas is not installed.

    Example:
        >>> import gradamp
        >>> sweep = gradamp.runs("sweeps/factors")                             # doctest: +SKIP
        >>> sweep.metrics.groupby(["cell", "epoch"]).test_accuracy.mean()      # doctest: +SKIP
    """
    return Runs(find(*paths))


class Runs:
    """Runs, whose attributes are DataFrames.

    Every table begins with the columns that identify a run: `study`, `run`, `cell`, `role`, an `axis.NAME` for each axis of the
    sweeps, and `seed`. Epochs, steps and phases are counted from 0. Accuracies are shares from 0 to 1, losses are mean
    cross-entropies in nats, times are in seconds. A value that was not measured or is not finite is missing (NaN).

    Reading a table raises `RunError` for a file that is missing or damaged; the message names the file and the line. The logs are
    not compared with their seals; `gradamp verify` does that.
    """

    def __init__(self, folders: Iterable[Folder]) -> None:
        self.folders = list(folders)

    def __len__(self) -> int:
        return len(self.folders)

    def __repr__(self) -> str:
        return f"<gradamp.Runs: {len(self)} runs>"

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each run: its record (`run.json`), and the results of its last and best epochs.

        `status` is the outcome in `run.json`: running, finished, interrupted, step_limit, stopped_early, diverged or failed. A run
        that says `running` while no process trains it was killed. `epochs` counts finished epochs. `test_accuracy` is that of the
        last evaluation. The best epoch is chosen by the validation examples if there are any, else by the test examples.
        """
        record = ("model", "parameters", "dataset", "device", "outcome", "error", "version", "commit", "start", "end")
        rows = []
        for folder in self.folders:
            epochs = _epochs(folder)
            tested = [epoch for epoch in epochs if epoch["test_accuracy"] == epoch["test_accuracy"]]
            best = next((epoch for epoch in reversed(epochs) if epoch["best"]), {})
            row = {key: folder.record.get(key) for key in record}
            row["status"] = row.pop("outcome")
            row["epochs"] = len(epochs)
            row["test_accuracy"] = tested[-1]["test_accuracy"] if tested else float("nan")
            row["best_epoch"] = best.get("epoch")
            row["best_validation_accuracy"] = best.get("validation_accuracy")
            row["test_accuracy_at_best"] = best.get("test_accuracy")
            row["total_seconds"] = epochs[-1].get("total_seconds") if epochs else None
            rows.append([row])
        frame = self._frame(rows, numbers=["best_validation_accuracy", "test_accuracy_at_best", "total_seconds"])
        frame["folder"] = [str(folder.path) for folder in self.folders]
        return frame

    @cached_property
    def settings(self) -> pd.DataFrame:
        """A row for each run: every setting of `config.toml`, in a column with the setting's path, such as
        `amplification.factor` or `strategy.phase.1.lr`."""
        return self._frame([[dict(_flat(folder.settings))] for folder in self.folders])

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """A row for each run and epoch: the epochs of `metrics.jsonl`, joined with `evaluations.jsonl`.

        `train_loss` and `train_accuracy` are means over the epoch's examples, each at the step that trained on it;
        `validation_...` and `test_...` were measured after the epoch, on `validation_examples` and `test_examples` examples.
        `attenuation` is the norm of the gradient at the first measured layer, divided by that at the last one.
        """
        rows = []
        for folder in self.folders:
            examples = {(line["epoch"], line["split"]): sum(map(sum, line["confusion"])) for line in _evaluations(folder)}
            epochs = _epochs(folder)
            for epoch in epochs:
                for split in ("validation", "test"):
                    epoch[f"{split}_examples"] = examples.get((epoch["epoch"], split), float("nan"))
            rows.append(epochs)
        return self._frame(rows, like=[*EPOCH, *EPOCH_OPTIONAL], numbers=[*EPOCH_OPTIONAL])

    @cached_property
    def steps(self) -> pd.DataFrame:
        """A row for each step that was logged (every `train.log_interval` steps): loss and accuracy of its batch."""
        rows = [_metrics(folder, "step", STEP, STEP_OPTIONAL) for folder in self.folders]
        return self._frame(rows, like=[*STEP, *STEP_OPTIONAL], numbers=[*STEP_OPTIONAL])

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """A row for each run, epoch and split (`validation` or `test`), from `evaluations.jsonl`.

        `confusion` is a list of lists: how many examples of each class (row) were classified as each class (column). `hits` is a
        list with a 1 for each example, in the set's order, that was classified correctly, and a 0 for each that was not.
        """
        return self._frame([_evaluations(folder) for folder in self.folders], like=EVALUATION)

    @cached_property
    def draws(self) -> pd.DataFrame:
        """A row for each draw of amplified layers and each layer of it, from `amplification.jsonl`.

        The `factor` multiplies the gradient of `site` from `step` on, until the run's next draw. A draw without layers, from which on
        nothing is amplified, is one row without `site` and `factor`.
        """
        rows = [list(_draws(folder)) for folder in self.folders]
        return self._frame(rows, like=["epoch", "step", "site", "factor", "placement"], numbers=["factor"])

    @cached_property
    def gradients(self) -> pd.DataFrame:
        """A row for each run, epoch and layer (`site`, in forward order), from `gradients.jsonl`.

        `norm_before` and `norm_after` are the Euclidean norms of the gradient at the layer's output, before and after
        amplification at this layer, as means over the `steps` that were measured. `update_ratio`, at layers with parameters, is the
        norm of an update divided by that of the parameters. Signals of the forward pass follow if `train.signals` was on.
        """
        rows = [_gradients(folder) for folder in self.folders]
        return self._frame(rows, like=[*GRADIENT, *GRADIENT_OPTIONAL], numbers=["norm_before", "norm_after"])

    def _frame(self, rows: list[list[Row]], like: Iterable[str] = (), numbers: Iterable[str] = ()) -> pd.DataFrame:
        """A table of each run's rows behind the columns that identify the run.

        A table without rows has the columns `like`; `numbers` are numbers even if all of them are missing.
        """
        import pandas as pd

        axes = list(dict.fromkeys(axis for folder in self.folders for axis in folder.axes))

        def identity(folder: Folder) -> Row:
            own = {"study": folder.study, "run": folder.name, "cell": folder.cell, "role": folder.role}
            return {**own, **{f"axis.{axis}": _plain(folder.axes.get(axis)) for axis in axes}, "seed": _seed(folder)}

        pairs = zip(self.folders, rows)
        flat = [{**identity(folder), **row} for folder, own in pairs if own for row in own]
        names = ["study", "run", "cell", "role", *(f"axis.{axis}" for axis in axes), "seed", *like]
        frame = pd.DataFrame(flat) if flat else pd.DataFrame(columns=names)
        present = [name for name in numbers if name in frame]
        return frame.astype(dict.fromkeys(present, "float64"))


def _seed(folder: Folder) -> int:
    try:
        return whole(folder.record.get("seed"))
    except ValueError as error:
        raise RunError(f"{folder.path / 'run.json'}: is damaged or of another version: seed: {error}") from None


def _plain(value: Any) -> Any:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (list, dict)) else value


def _flat(settings: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(settings, list) and any(isinstance(item, dict) for item in settings):
        settings = dict(enumerate(settings))
    if not isinstance(settings, dict):
        yield path, settings
        return
    for key, value in settings.items():
        yield from _flat(value, f"{path}.{key}" if path else str(key))


def _lines(folder: Folder, name: str) -> Iterator[tuple[str, Row]]:
    path = folder.path / name
    # A run that has not saved a checkpoint yet may have no log.
    return read_lines(path) if path.exists() or folder.record.get("saved") else iter(())


def _metrics(folder: Folder, kind: str, needed: Mapping[str, Convert], optional: Mapping[str, Convert]) -> list[Row]:
    """The lines of one kind in `metrics.jsonl`, which holds steps and epochs."""
    rows = []
    for place, line in _lines(folder, "metrics.jsonl"):
        if convert(place, line, {"kind": text}, {})["kind"] == kind:
            rows.append(convert(place, {k: v for k, v in line.items() if k != "kind"}, needed, optional))
    return rows


def _epochs(folder: Folder) -> list[Row]:
    return _metrics(folder, "epoch", EPOCH, EPOCH_OPTIONAL)


def _evaluations(folder: Folder) -> list[Row]:
    return [convert(place, line, EVALUATION, {}) for place, line in _lines(folder, "evaluations.jsonl")]


def _gradients(folder: Folder) -> list[Row]:
    return [convert(place, line, GRADIENT, GRADIENT_OPTIONAL) for place, line in _lines(folder, "gradients.jsonl")]


def _draws(folder: Folder) -> Iterator[Row]:
    for place, line in _lines(folder, "amplification.jsonl"):
        draw = convert(place, line, DRAW, {"power": number})
        sites, factors = draw.pop("sites"), draw.pop("factors")
        if len(sites) != len(factors):
            raise RunError(f"{place}: is damaged: expected {len(sites)} factors, one for each site, found {len(factors)}")
        for site, factor in zip(sites, factors) if sites else [(None, None)]:
            yield {"epoch": draw["epoch"], "step": draw["step"], "site": site, "factor": factor, **draw}
