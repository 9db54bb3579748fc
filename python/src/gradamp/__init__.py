"""Beside the program gradamp: its runs as pandas DataFrames, its models and its gradient amplification in PyTorch.

    runs(path)                           runs, sweeps and folders of runs as DataFrames (needs pandas)
    load_torch(run)                      the network of a run as a PyTorch module, with its weights (needs torch)
    amplify(model, sites, factor)        gradient amplification in a PyTorch model (needs torch)

`gradamp.models` holds the networks, `gradamp.peers` the programs that docs/performance.md and docs/results.md compare gradamp with.
"""

from .checkpoint import NORMALISATION, load_torch, normalisation
from .files import RunError
from .hooks import Amplification, amplify
from .tables import Runs, runs

__all__ = ["NORMALISATION", "Amplification", "RunError", "Runs", "amplify", "load_torch", "normalisation", "runs"]
