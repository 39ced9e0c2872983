"""Options and the report that the benchmarks of accuracy share."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from fits import PROCESSORS, FitFailed, limit_processors
from timing import load, processor

from flowcli.config.schema import parse_duration

HERE = Path(__file__).parent
PACKAGES = ("torch", "scikit-learn", "zuko", "nflows", "pyro-ppl")
Item, Result = TypeVar("Item"), TypeVar("Result")


def parser_of(description: str | None, holds: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("folder", type=Path, help=f"holds {holds}")
    parser.add_argument("--table", action="append", metavar="NAME", help="may be repeated; by default all")
    parser.add_argument(
        "--max-time", type=duration, metavar="TIME", help="of each fit, then with one thread; by default no limit"
    )
    parser.add_argument("--seed", default="0", help="of the fits")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="tables at once, each then with one thread")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FOLDER",
        nargs="?",
        const=HERE,
        help="write the report, beside this or in a folder",
    )
    return parser


def duration(text: str) -> str:
    """A time that flowcli understands, as it is."""
    parse_duration(text)
    return text


def add_peers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--peers", type=Path, metavar="FILE", help="keeps the peers' scores; made if it is not there")
    parser.add_argument(
        "--peer-time", type=parse_duration, default=100.0, metavar="TIME", help="of a core, for each peer that trains"
    )


def tables_of(options: argparse.Namespace, files: Sequence[str]) -> list[Path]:
    """The folders of the tables asked for, each with these files."""
    if not options.folder.is_dir():
        sys.exit(f"{options.folder}: not there; these figures need its tables")
    found = sorted(path.parent.name for path in options.folder.glob(f"*/{files[0]}"))
    if not found:
        sys.exit(f"{options.folder}: holds no NAME/{files[0]}; these figures need such tables")
    folders = [options.folder / name for name in options.table or found]
    for path in (folder / file for folder in folders for file in files):
        if not path.is_file():
            sys.exit(f"{path}: not there; there are {', '.join(found)}")
    return folders


def shape(file: Path) -> tuple[int, int]:
    """Rows, the header not counted, and columns of a CSV."""
    with file.open() as lines:
        columns = next(lines).count(",") + 1
        return sum(1 for _ in lines), columns


def fit_options(options: argparse.Namespace) -> list[str]:
    """What the fits are told besides their data: nothing that decides on the model."""
    return ["--seed", options.seed, *(["--max-time", options.max_time] if options.max_time else [])]


def threads(options: argparse.Namespace) -> int | None:
    """One with a limit of time, or beside other fits; otherwise the fit takes as many as it wants."""
    return 1 if options.max_time or options.jobs > 1 else None


def each(
    work: Callable[[Item], Result], items: Sequence[Item], options: argparse.Namespace
) -> Iterator[tuple[Item, Result | FitFailed]]:
    """Results in turn, of as many items at once as there are jobs; a fit that failed is one of them."""

    def attempt(item: Item) -> Result | FitFailed:
        try:
            return work(item)
        except FitFailed as failed:
            return failed

    # Several at once have one thread each anyway.
    if options.jobs == 1:
        limit_processors()
    with ThreadPoolExecutor(options.jobs) as pool:
        yield from zip(items, pool.map(attempt, items), strict=True)


class Report:
    """Lines of Markdown, printed as they come, and written at the end."""

    def __init__(self, title: str, name: str, options: argparse.Namespace) -> None:
        self._options = options
        self._file = name if options.max_time is None else f"{name}_{options.max_time}"
        self._title = [f"# {title}", "", f"`{_command(options)}`; what it says is told in [README.md](README.md).", ""]
        self._lines: list[str] = []
        how = "one thread" if threads(options) else f"at most {PROCESSORS} processors"
        self._load = load()
        self.tell(
            f"{date.today()}, {processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, "
            f"{', '.join(_versions())}. Each fit: {how}, --max-time {options.max_time}, seed {options.seed}; "
            f"{options.jobs} at once.",
            "",
        )

    def tell(self, *lines: str) -> None:
        print(*lines, sep="\n", flush=True)
        self._lines += lines

    def table(self, columns: Sequence[str]) -> None:
        self.tell("", row(columns), f"|{' --- |' * len(columns)}")

    def row(self, cells: Sequence[str]) -> None:
        self.tell(row(cells))

    def close(self) -> None:
        """How busy the machine was, and the file."""
        if self._load is not None:
            self.tell("", f"Load average before and after: {self._load:.1f}, {load():.1f}.")
        if self._options.write:
            text = "\n".join([*self._title, *self._lines]) + "\n"
            (self._options.write / f"{self._file}.md").write_text(text)


def _command(options: argparse.Namespace) -> str:
    """As it was given, with the places of the tables and the peers' scores left out."""
    places = {options.folder: "FOLDER", options.write: "FOLDER", getattr(options, "peers", None): "FILE"}
    script, *arguments = sys.argv
    given = [places.get(Path(argument), argument) for argument in arguments]
    return " ".join(["python", f"tests/benchmarks/{Path(script).name}", *given])


def row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def holds(reached: bool) -> str:
    return "yes" if reached else "**no**"


def _versions() -> Iterator[str]:
    for package in PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"without {package}"
