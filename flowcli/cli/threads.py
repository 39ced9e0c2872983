"""How many threads torch uses in a command."""

from __future__ import annotations

import os


def use_one_thread() -> None:
    """Use one thread, unless ``OMP_NUM_THREADS`` says how many.

    On the small matrices of a table's flow a second thread gains a third at best, and beside another busy
    process its waiting makes everything ten times slower or worse.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
