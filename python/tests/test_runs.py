from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from support import gradamp as run_program

import gradamp


def test_a_sweep_s_tables_hold_what_its_files_say(work: Path) -> None:
    sweep = gradamp.runs(work / "factors")
    assert len(sweep) == 6  # two cells and the baseline, two seeds each
    expected = pd.read_csv(work / "factors/results.csv").set_index("run").sort_index()
    table = sweep.table.set_index("run").sort_index()
    assert (table.status == "finished").all()
    for ours, theirs in {
        "cell": "cell",
        "role": "role",
        "seed": "seed",
        "axis.amplification.factor": "amplification.factor",
        "epochs": "epochs",
        "test_accuracy": "last_test_accuracy",
        "best_epoch": "best_epoch",
        "test_accuracy_at_best": "test_accuracy_at_best",
        "total_seconds": "seconds",
    }.items():
        pd.testing.assert_series_equal(table[ours], expected[theirs], check_names=False, check_dtype=False)


def test_the_metrics_are_the_rows_of_the_program_s_own_table(work: Path) -> None:
    run_program("export", "factors", "--output", "table.csv", "--force", folder=work)
    expected = pd.read_csv(work / "table.csv")
    metrics = gradamp.runs(work / "factors").metrics
    shared = [name for name in expected if name in metrics]
    assert {"study", "run", "axis.amplification.factor", "train_loss", "test_accuracy", "attenuation"} <= set(shared)
    pd.testing.assert_frame_equal(metrics[shared], expected[shared], check_dtype=False)
    assert (metrics.test_examples == 40).all()
    assert metrics.validation_examples.isna().all()


def test_steps_evaluations_draws_and_gradients(work: Path) -> None:
    runs = gradamp.runs(work / "single")
    assert runs.steps.step.tolist() == [0, 1, 2, 3]
    first = runs.evaluations.iloc[0]
    assert (first.split, len(first.hits), sum(map(sum, first.confusion))) == ("test", 40, 40)
    assert sum(first.hits) / 40 == pytest.approx(first.accuracy)
    assert sum(first.confusion[i][i] for i in range(10)) == sum(first.hits)
    draws = runs.draws
    amplified = draws[draws.site.notna()]
    assert amplified.site.tolist() == ["act1", "act2"]
    assert (amplified.factor == 2.0).all()
    gradients = runs.gradients
    assert gradients[gradients.epoch == 0].site.tolist() == ["fc1", "act1", "fc2", "act2", "classifier"]
    ratio = (gradients.norm_after / gradients.norm_before).groupby([gradients.epoch, gradients.site]).mean()
    assert ratio[0, "act1"] == pytest.approx(2.0)
    assert ratio[1, "act1"] == pytest.approx(1.0)
    assert gradients[gradients.site == "act1"].update_ratio.isna().all()


def test_settings_have_their_paths_as_columns(work: Path) -> None:
    settings = gradamp.runs(work / "factors").settings.set_index("run")
    assert settings.loc["factor-3_seed-2", "amplification.factor"] == 3.0
    assert settings.loc["factor-3_seed-2", "train.seed"] == 2
    assert settings.loc["factor-3_seed-2", "strategy.phase.0.amplify"]


def test_what_a_path_may_be(work: Path) -> None:
    by_pattern = gradamp.runs(work / "factors/runs/factor-*")
    assert sorted(by_pattern.table.cell) == ["factor-2", "factor-2", "factor-3", "factor-3"]
    assert len(gradamp.runs(work / "factors/runs")) == 6
    assert len(gradamp.runs(work / "factors", work / "single")) == 7
    both = gradamp.runs(work / "factors", work / "single").table
    assert both.study.isna().tolist() == [False] * 6 + [True]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", "expected a run, a sweep or a folder of runs, found no such folder"),
        ("factors/configs", "found no config.toml in it"),
        ("fact*/runs/factor-9*", "no folder matches"),
    ],
)
def test_a_path_without_runs_is_an_error(work: Path, path: str, message: str) -> None:
    with pytest.raises(gradamp.RunError, match=message.replace("*", r"\*")) as error:
        gradamp.runs(work / path)
    assert str(error.value).startswith(str(work / path))
    with pytest.raises(gradamp.RunError, match="is named twice"):
        gradamp.runs(work / "single", work / "sing*")


@pytest.fixture
def run(work: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be damaged."""
    return Path(shutil.copytree(work / "single", tmp_path / "run"))


def change(path: Path, number: int, line: str) -> None:
    lines = path.read_text().split("\n")
    lines[number - 1] = line
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("log", "table", "line", "message"),
    [
        ("metrics.jsonl", "metrics", '{"kind":"ep', "line 2: is damaged or of another version"),
        ("metrics.jsonl", "metrics", "[1]", "line 2: is damaged or of another version: expected an object, found list"),
        ("metrics.jsonl", "steps", '{"kind":"step","epoch":0}', "line 2: .*: the key 'step' is missing"),
        ("metrics.jsonl", "table", '{"epoch":0}', "line 2: .*: the key 'kind' is missing"),
        ("evaluations.jsonl", "metrics", "", "line 2: is damaged"),
        ("gradients.jsonl", "gradients", '{"epoch":-1}', "line 2: .*: epoch: expected a whole number, found -1"),
    ],
)
def test_a_damaged_line_is_named(run: Path, log: str, table: str, line: str, message: str) -> None:
    change(run / log, 2, line)
    with pytest.raises(gradamp.RunError, match=message) as error:
        getattr(gradamp.runs(run), table)
    assert str(error.value).startswith(str(run / log))


def test_a_value_of_another_type_is_named(run: Path) -> None:
    draws = run / "amplification.jsonl"
    whole = draws.read_text()
    for right, wrong, message in [
        ('"factors":[2.0,2.0]', '"factors":[2.0]', "line 1: is damaged: expected 2 factors, one for each site, found 1"),
        ('"factors":[2.0,2.0]', '"factors":["much",2.0]', "line 1: .*: factors: expected a number or null, found 'much'"),
        ('"sites":["act1","act2"]', '"sites":7', "line 1: .*: sites: expected a list, found 7"),
    ]:
        assert right in whole
        draws.write_text(whole.replace(right, wrong))
        with pytest.raises(gradamp.RunError, match=message):
            _ = gradamp.runs(run).draws


def test_a_line_that_is_being_written_is_left_out(run: Path) -> None:
    before = len(gradamp.runs(run).metrics)
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"kind":"epoch","epoch":2,')
    assert len(gradamp.runs(run).metrics) == before == 2


@pytest.mark.parametrize("log", ["metrics.jsonl", "evaluations.jsonl"])
def test_a_missing_log_is_an_error_once_the_run_was_saved(run: Path, log: str) -> None:
    (run / log).unlink()
    with pytest.raises(gradamp.RunError, match=f"{log}: is missing"):
        _ = gradamp.runs(run).metrics


def test_a_run_that_has_just_begun_has_no_rows_yet(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    del record["sha256"]
    (run / "run.json").write_text(json.dumps({**record, "saved": False, "outcome": "running"}))
    for log in run.glob("*.jsonl"):
        log.unlink()
    runs = gradamp.runs(run)
    assert runs.table.loc[0, ["status", "epochs"]].tolist() == ["running", 0]
    for table, column in {"metrics": "epoch", "draws": "site", "gradients": "site", "evaluations": "hits"}.items():
        assert column in getattr(runs, table).columns
        assert len(getattr(runs, table)) == 0


def test_changed_settings_and_records_are_noticed(run: Path) -> None:
    config = run / "config.toml"
    config.write_text(config.read_text().replace("seed = 3", "seed = 4"))
    with pytest.raises(gradamp.RunError, match="config.toml: is changed: expected SHA-256"):
        _ = gradamp.runs(run).settings
    record = run / "run.json"
    record.write_text(record.read_text().replace('"seed": 3', '"seed": 4'))
    with pytest.raises(gradamp.RunError, match="run.json: is changed: expected SHA-256"):
        _ = gradamp.runs(run).metrics
    record.unlink()
    with pytest.raises(gradamp.RunError, match="run.json: is missing"):
        _ = gradamp.runs(run).table


def test_the_best_epoch_is_the_last_best_one_and_the_last_accuracy_the_last_measured_one(run: Path) -> None:
    metrics = run / "metrics.jsonl"
    epoch = json.loads(metrics.read_text().splitlines()[-1])
    rows = [(0, True, 0.25), (1, True, 0.5), (2, False, 0.375), (3, False, None)]
    lines = [{**epoch, "epoch": i, "best": best, "test_accuracy": accuracy} for i, best, accuracy in rows]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = gradamp.runs(run).table.iloc[0]
    assert (table.epochs, table.best_epoch, table.test_accuracy_at_best, table.test_accuracy) == (4, 1, 0.5, 0.375)


def test_a_draw_without_layers_is_a_row_of_its_own(run: Path) -> None:
    with (run / "amplification.jsonl").open("a") as log:
        log.write('{"epoch":1,"step":3,"sites":[],"factors":[],"placement":"output","power":0.5}\n')
    draws = gradamp.runs(run).draws
    assert draws.site.isna().tolist() == [False, False, True]
    assert draws.power.isna().tolist() == [True, True, False]
    assert (draws.step.iloc[-1], draws.placement.iloc[-1]) == (3, "output")


def test_numbers_that_are_not_finite_are_missing(run: Path) -> None:
    metrics = run / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    for line in lines:
        if line["kind"] == "epoch":
            line["train_loss"], line["new_key"] = None, 7
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = gradamp.runs(run).metrics
    assert table.train_loss.isna().all()
    assert (table.new_key == 7).all()  # later versions may write more
