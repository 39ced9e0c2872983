"""Where tensors live."""

from __future__ import annotations

import torch

from flowcli.errors import FlowcliError, UsageError


def resolve_device(name: str) -> torch.device:
    """The device of ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; ``auto`` is CUDA where there is one.

    Raises:
        UsageError: the name is none of these.
        FlowcliError: this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()) or (kind == "cpu" and number):
        raise UsageError(f"--device is auto, cpu, cuda or cuda:N; got '{name}'")
    if kind == "cuda":
        if not torch.cuda.is_available():
            built = "sees no GPU" if torch.version.cuda else "is a CPU build"
            raise FlowcliError(f"no CUDA device: torch {torch.__version__} {built}; use --device cpu")
        if int(number or 0) >= torch.cuda.device_count():
            raise FlowcliError(f"no CUDA device {number}: there are {torch.cuda.device_count()}, counted from 0")
    return torch.device(name)
