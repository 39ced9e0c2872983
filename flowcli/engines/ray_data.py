"""Work on many processes and machines, by Ray Data, which has the workers, hands out the pieces and replaces the lost.

A piece is some row groups of a Parquet file, or a whole file of another kind. Each is read, prepared and computed by an
actor that holds the model, with the same code as elsewhere, and what comes of it comes back in the order of the pieces.
Ray delivers what a piece gives once, however often a lost worker made it begin anew.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcli.engines.work import Done, Job, Piece
from flowcli.errors import FlowcliError, first_line
from flowcli.memory import keep_freed_memory
from flowcli.tables.columnar_source import parquet_groups
from flowcli.tables.pipeline import usable_cpus
from flowcli.tables.read import read_chunks
from flowcli.tables.streams import opened

if TYPE_CHECKING:
    import pyarrow as pa

# Row groups are taken together up to about so many rows: enough to keep a worker busy for a second or so, and little to
# do again when it is lost.
ROWS_PER_PIECE = 1 << 18
# Results on their way, of each worker of a cluster that is started here; more would be on disk.
BYTES_PER_WORKER = 64 << 20
BYTES_OF_A_BLOCK = 16 << 20


@contextmanager
def cluster(workers: int | None, say: Callable[[str], None]) -> Iterator[None]:
    """The cluster that ``RAY_ADDRESS`` names, else one on this machine that ends with the block.

    Args:
        workers: how many processors a cluster on this machine has at the least.
        say: told what Ray says of lost workers.

    Raises:
        FlowcliError: Ray does not start, or something else than the work goes wrong.
    """
    # Ray would tell its makers of every cluster.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Its core writes to stderr past Python.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    address = os.environ.get("RAY_ADDRESS", "local")
    if address == "local":
        processors = max(workers or 0, usable_cpus())
        memory = (processors + 4) * BYTES_PER_WORKER
        quiet |= {"include_dashboard": False, "num_cpus": processors, "object_store_memory": memory}
    logging.getLogger("ray").setLevel("CRITICAL")
    logging.getLogger("ray.data").setLevel("CRITICAL")
    with contextlib.redirect_stdout(_Told(say)):
        try:
            with _own_signals(), _silent():
                ray.init(address=address, **quiet)
        except Exception as error:
            where = "" if address == "local" else f" at RAY_ADDRESS={address}"
            raise FlowcliError(f"no Ray cluster{where}: {first_line(error)}") from None
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = BYTES_OF_A_BLOCK
        context.execution_options.preserve_order = True
        try:
            yield
        except ray.exceptions.RayError as error:
            raise FlowcliError(f"Ray: {first_line(error)}") from error
        finally:
            ray.shutdown()


def plan(files: Sequence[str], encoding: str) -> list[tuple[list[str], list[Piece]]]:
    """The names of each file's columns, and the pieces that it is read in.

    Raises:
        FlowcliError: a file cannot be read.
    """
    import ray

    rows = [{"file": file, "encoding": encoding, "folder": os.getcwd()} for file in files]  # noqa: PTH109
    data = ray.data.from_items(rows, override_num_blocks=min(len(rows), 200)).map(_plan)
    return list(_unpacked(data))


def results(
    job: Job, pieces: Sequence[Piece], model: Path, workers: int | None = None, device: str = "auto"
) -> Iterator[Done]:
    """What comes of the pieces, in their order.

    Args:
        model: the model's file, whose contents go to the workers.
        workers: how many; by default one for each GPU, or else for each processor, of the cluster.
        device: ``auto``, ``cpu`` or ``cuda``; ``auto`` is CUDA where the cluster has GPUs.

    Raises:
        FlowcliError: a row or a column does not fit, or a piece cannot be read.
    """
    import ray

    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = 0 if device == "cpu" else int(have.get("GPU", 0))
    if device == "cuda" and not gpus:
        raise FlowcliError("no CUDA device: the Ray cluster has no GPU; use --device cpu")
    count = max(1, min(workers or gpus or int(have.get("CPU", 1)), gpus or len(pieces), len(pieces)))
    # In a list, as Ray would wait for a worker's arguments themselves to be made again.
    shared = [ray.put((model.read_bytes(), job, "cuda" if gpus else "cpu", os.getcwd()))]  # noqa: PTH109
    data = ray.data.from_items(
        [{"piece": pickle.dumps(piece)} for piece in pieces], override_num_blocks=len(pieces)
    ).map_batches(
        Worker,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=count),
        fn_constructor_args=(shared,),
        num_cpus=1,
        num_gpus=1 if gpus else None,
    )
    yield from _unpacked(data)


class Worker:
    """An actor's: a model, and what is to be done with it."""

    def __init__(self, shared: Sequence[Any]) -> None:
        import ray

        keep_freed_memory()
        from flowcli.model import Model

        content, self.job, device, folder = ray.get(shared[0])
        _work_in(folder)
        with tempfile.TemporaryDirectory() as aside:
            file = Path(aside) / "model"
            file.write_bytes(content)
            self.model = Model.load(file, device, light=True)
            # Needs the file, too.
            self.model.density  # noqa: B018

    def __call__(self, batch: pa.Table) -> Iterator[dict[str, Any]]:
        for piece in batch.column("piece").to_pylist():
            try:
                for done in self.job.results(self.model, pickle.loads(piece)):
                    yield _packed(done)
            except FlowcliError as error:
                yield _packed(error)


def _plan(row: dict[str, Any]) -> dict[str, Any]:
    file = row["file"]
    _work_in(row["folder"])
    try:
        names = next(read_chunks(file, row["encoding"])).names
        with opened(file) as stream:
            groups = parquet_groups(stream)
        return {
            "result": pickle.dumps((names, [Piece(file, rows) for rows in _together(groups or [])] or [Piece(file)]))
        }
    except FlowcliError as error:
        return {"result": pickle.dumps(error)}


def _work_in(folder: str) -> None:
    """Have paths mean what they mean to the command, where its folder is there, and messages say them as it does."""
    with contextlib.suppress(OSError):
        os.chdir(folder)


def _together(groups: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Row groups next to each other, as the numbers of their rows."""
    first = stop = 0
    for number, rows in enumerate(groups, 1):
        stop += rows
        if stop - first >= ROWS_PER_PIECE or (number == len(groups) and stop > first):
            yield first, stop
            first = stop


def _packed(result: Any) -> dict[str, Any]:
    # To Ray Data a result is bytes: it neither looks for its types nor puts it together with others'.
    return {"result": [pickle.dumps(result)]}


def _unpacked(data: Any) -> Iterator[Any]:
    """The results, in order; one that is an error is raised."""
    for batch in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
        for packed in batch.column("result").to_pylist():
            result = pickle.loads(packed)
            if isinstance(result, FlowcliError):
                raise result
            yield result


class _Told(io.TextIOBase):
    """Takes what is printed, which Ray does where workers are lost, and tells it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if text.strip():
            self.say(text.strip())
        return len(text)


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what is written to stderr, past Python, too."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what this process does on SIGTERM, in the place of which Ray puts its own way to end."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
