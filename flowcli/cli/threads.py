"""How many processor threads a command uses."""

from __future__ import annotations

import os
import sys

from flowcli.config.limits import MOST_THREADS
from flowcli.memory import keep_freed_memory

# What the libraries read when they are loaded: OpenMP, which torch and OpenBLAS follow, and MKL.
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
# A thread that waits for the others of a product must not spin, in GNU's OpenMP, or LLVM's and Intel's: beside another
# busy process it would keep from work those that it waits for, and make a step ten to a hundred times slower.
_NO_SPINNING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def asked_threads(option: int | None) -> int | None:
    """As many as ``--threads`` says, else the first number of ``OMP_NUM_THREADS``; ``None`` if neither says."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    # A larger number than the option may have is for larger programs.
    return option or (min(int(first), MOST_THREADS) if first.isdecimal() and int(first) else None)


def never_spin() -> None:
    """Have threads that wait sleep, unless the environment says otherwise; to be called before torch is loaded."""
    for name, value in _NO_SPINNING.items():
        os.environ.setdefault(name, value)


def use_threads(count: int) -> None:
    """Compute each product of matrices, and each elementwise function, with so many threads, in memory that is kept.

    To be called after :func:`asked_threads`, and best before torch is imported.
    """
    keep_freed_memory()
    os.environ.update(dict.fromkeys(_COUNTS, str(count)))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
