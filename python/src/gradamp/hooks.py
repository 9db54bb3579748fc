"""Gradient amplification by PyTorch's hooks."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PLACEMENTS = ("output", "input", "params")


class Amplification:
    """Amplification that is switched on. `remove`, or the end of a `with` block, switches it off."""

    def __init__(self, sites: list[str], handles: list[Any]) -> None:
        #: The names of the amplified modules, in the model's order.
        self.sites = sites
        self._handles = handles

    def remove(self) -> None:
        """Switches amplification off. Call it between steps: the factors `output` and `input` belong to the forward pass."""
        while self._handles:
            self._handles.pop().remove()

    def __enter__(self) -> Amplification:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


def amplify(model: torch.nn.Module, sites: str | Iterable[str], factor: float, placement: str = "output") -> Amplification:
    """Multiplies the gradients that pass some modules of a model by a factor, from now on until it is switched off.

    A step is amplified if its forward and its backward pass both run in that time.

    With dy the gradient of the loss with respect to a module's output, dx with respect to its input and dw with respect to its
    parameters, `placement` says what is multiplied by `factor`:

    - `output`: dy, before the module's own backward. The module's dw and everything upstream see the factor.
    - `input`: dx. Everything upstream sees the factor, the module's own dw does not.
    - `params`: dw. Nothing upstream changes.

    Arguments:
        model: any model.
        sites: names of modules as in `model.named_modules()`, or patterns as in `amplification.paths`: `*` and `?` stay within a
            part of a dotted name, `**` spans any number of parts, as in `"layer?.*.bn1"` or `"layer1.**"`.
        factor: a finite number. Factors compound: k amplified modules on a path multiply what arrives upstream of all of them by
            factor to the power of k.
        placement: `output`, `input` or `params`.

    Errors: `ValueError` for a site that matches no module, a site without parameters if `placement` is `params`, a factor that is
    not finite, or an unknown placement. `TypeError` in the forward pass if the output of a site is not a tensor.

    Example:
        >>> import torch, gradamp
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        >>> with gradamp.amplify(model, ["1"], factor=2.0):
        ...     model(torch.ones(1, 4)).sum().backward()
    """
    if placement not in PLACEMENTS:
        raise ValueError(f"placement: expected {', '.join(PLACEMENTS)}, found {placement!r}")
    if not math.isfinite(factor):
        raise ValueError(f"factor: expected a finite number, found {factor}")
    amplification = Amplification(_matching(model, sites), [])
    add = amplification._handles.append
    for site in amplification.sites:
        module = model.get_submodule(site)
        if placement == "output":
            add(module.register_forward_hook(lambda _module, _inputs, y: _scale_gradient(y, factor)))
        elif placement == "input":
            # The copy belongs to this module alone, so that others that read the same tensor are not amplified.
            add(module.register_forward_pre_hook(lambda _module, xs: tuple(_scaled_copy(x, factor) for x in xs)))
        else:
            if not any(True for _ in module.parameters()):
                amplification.remove()
                raise ValueError(f"sites: {site} has no parameters, which the placement params amplifies")
            for parameter in module.parameters():
                add(parameter.register_hook(lambda dw: dw * factor))
    return amplification


def _scale_gradient(y: torch.Tensor, factor: float) -> None:
    if not hasattr(y, "register_hook"):
        raise TypeError(f"amplify: expected a site whose output is a tensor, found {type(y).__name__}")
    if y.requires_grad:
        y.register_hook(lambda dy: dy * factor)


def _scaled_copy(x: Any, factor: float) -> Any:
    if not getattr(x, "requires_grad", False):
        return x  # nothing is upstream
    copy = x.clone()
    copy.register_hook(lambda dx: dx * factor)
    return copy


def _matching(model: torch.nn.Module, sites: str | Iterable[str]) -> list[str]:
    patterns = {site: _pattern(site) for site in ([sites] if isinstance(sites, str) else sites)}
    names = [name for name, _ in model.named_modules() if name]
    for site, pattern in patterns.items():
        if not any(pattern.fullmatch(name) for name in names):
            raise ValueError(f"sites: no module of the model matches {site!r}")
    return [name for name in names if any(pattern.fullmatch(name) for pattern in patterns.values())]


def _pattern(site: str) -> re.Pattern[str]:
    wildcards = {"**": r".*", "*": r"[^.]*", "?": r"[^.]"}
    return re.compile("".join(wildcards.get(part, re.escape(part)) for part in re.split(r"(\*\*|[*?])", site)))
