"""Where a command computes with a model: in this process, or on Ray's workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from flowcli.cli.output import STDOUT, messages
from flowcli.errors import UsageError

if TYPE_CHECKING:
    from flowcli.engines.work import Done, Sampling, Work
    from flowcli.model import Model


class Engine(str, Enum):
    """What computes."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class Place:
    """Where, on which device, and with how many threads, or workers of Ray; ``None``: as many as are useful."""

    on_ray: bool
    device: str
    threads: int | None

    @classmethod
    def of(
        cls,
        engine: Engine,
        device: str,
        threads: int | None,
        output: str,
        sources: Sequence[str] = (),
        force: bool = False,
    ) -> Place:
        """What the options ask for, looked at before anything heavy is loaded.

        Raises:
            UsageError: the engine takes no standard stream or device of this name, or is not installed; or the output
                is not free.
        """
        from flowcli.cli.output import check_rows_output
        from flowcli.cli.threads import asked_threads

        check_rows_output(output, force, sources)
        if engine is not Engine.ray:
            return cls(False, device, asked_threads(threads))
        if STDOUT in sources:
            raise UsageError("--engine ray reads files and folders, not standard input: name them as DATA")
        if output == STDOUT:
            raise UsageError("--engine ray writes a file or a folder, not standard output: name it, as with -o out/")
        if device.startswith("cuda:"):
            raise UsageError(f"--engine ray: which GPU is used is for Ray to say; --device cuda, not {device}")
        from importlib.util import find_spec

        if find_spec("ray") is None:
            raise UsageError("--engine ray needs Ray, which is not installed: pip install 'flowcli[ray]'")
        return cls(True, device, threads)

    def load(self, path: Path) -> Model:
        """The model for this process. Ray's workers compute with their own."""
        from flowcli.cli.loading import load_model

        return load_model(path, "cpu" if self.on_ray else self.device)

    def work_on(
        self,
        files: Sequence[str],
        encoding: str | None,
        used: Collection[str] | None,
        model: Model,
        path: Path,
        work: Callable[[list[str]], Work],
    ) -> Iterator[Done]:
        """What comes of the rows of files, in their order.

        Args:
            used: the columns that are not told to be ignored; ``None``: all.
            path: the model's file.
            work: makes the work, from the names of the first table's columns.
        """
        from flowcli.cli.input import chunks, tell_ignored

        if self.on_ray:
            from flowcli.engines.ray_data import cluster, plan, results
            from flowcli.engines.work import OnTables

            with cluster(self.threads, messages.detail):
                planned = plan(files, encoding or "utf-8")
                told: set[str] = set()
                for names, _ in planned:
                    tell_ignored(names, used, told)
                job = OnTables(work(planned[0][0]), encoding or "utf-8")
                pieces = [piece for _, pieces in planned for piece in pieces]
                yield from results(job, pieces, path, self.threads, self.device)
            return
        from itertools import chain

        from flowcli.engines.work import on_chunks
        from flowcli.tables.pipeline import Pace

        tables = chunks(files, encoding, used)
        first = next(tables)
        yield from on_chunks(work(first.names), model, chain([first], tables), Pace(self.threads))

    def sample(self, sampling: Sampling, path: Path) -> Iterator[Done]:
        """The rows of a sample, in their order, on Ray."""
        from flowcli.engines.ray_data import cluster, results

        with cluster(self.threads, messages.detail):
            yield from results(sampling, sampling.pieces, path, self.threads, self.device)
