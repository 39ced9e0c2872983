"""Where tensors live. Torch is imported only to look for a device."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flowcli.errors import FlowcliError, UsageError

if TYPE_CHECKING:
    import torch


def check_device_name(name: str) -> str:
    """The name itself, if it is ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: it is none of these.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
        raise UsageError(f"a device is auto, cpu, cuda or cuda:N; got '{name}'")
    return name


def resolve_device(name: str) -> torch.device:
    """The device of ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is CUDA where there is one.

    Raises:
        UsageError: the name is none of these.
        FlowcliError: this machine has no such device.
    """
    import torch

    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda":
        if not torch.cuda.is_available():
            built = "sees no GPU" if torch.version.cuda else "is a CPU build"
            raise FlowcliError(f"no CUDA device: torch {torch.__version__} {built}; use --device cpu")
        if int(number or 0) >= torch.cuda.device_count():
            raise FlowcliError(f"no CUDA device {number}: there are {torch.cuda.device_count()}, counted from 0")
    return torch.device(name)
