from __future__ import annotations

from pathlib import Path

import pytest
from support import gradamp, write_cifar

try:
    import torch

    torch.set_num_threads(1)
except ImportError:
    torch = None

#: What is collected only where torch is installed. The header of the report says when it is not.
NEEDS_TORCH = [
    *("tests/test_amplify.py", "tests/test_load_torch.py", "tests/test_peers.py"),
    *("src/gradamp/hooks.py", "src/gradamp/models.py", "src/gradamp/peers/*.py"),
]
collect_ignore_glob = [] if torch else NEEDS_TORCH


def pytest_report_header() -> list[str]:
    return [f"torch: {torch.__version__ if torch else 'SKIPPED, not installed: ' + ', '.join(NEEDS_TORCH)}"]


STUDY = """
seeds = 2
[base.model]
name = "mlp"
width = 8
depth = 2
[base.data]
source = "shapes"
[base.data.shapes]
train = 64
test = 40
[base.train]
batch_size = 32
gradients_every = 1
log_interval = 1
[base.amplification]
kinds = ["activation"]
ratio = 1.0
[[base.strategy.phase]]
epochs = 1
lr = 0.1
amplify = true
[[base.strategy.phase]]
epochs = 1
lr = 0.1
[axes]
"amplification.factor" = [2.0, 3.0]
"""


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sweep `factors` and the run `single`, which trained on generated shapes."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "factors.toml").write_text(STUDY)
    gradamp("sweep", "factors.toml", "--out", "factors", "--quiet", folder=folder)
    run = folder / "factors/configs/factor-2_seed-1.toml"
    gradamp("train", "--config", run, "--seed", "3", "--out", "single", "--quiet", folder=folder)
    return folder


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images in the form of CIFAR-10."""
    folder = tmp_path_factory.mktemp("data") / "cifar"
    write_cifar(folder)
    return folder
