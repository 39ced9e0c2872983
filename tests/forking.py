"""Running the real program many times for little: each run is forked from a process that has imported it.

A step of a state test or of a fault test costs tens of milliseconds instead of the three seconds that torch takes to
load. Each run is a process of its own, with its own folder, environment and files 0, 1 and 2, so it can be killed,
stopped, watched, or started without a stdout. What it does not have of its own: the imports, and the interpreter's
end, of which only the last flush is done.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NoReturn

from running import Ended, environment

Stream = IO[bytes] | int | bytes | str | Path | None


class Child:
    """A run of the program that is under way."""

    def __init__(self, server: ForkServer, pid: int, out: IO[bytes] | None, err: IO[bytes] | None) -> None:
        self.server, self.pid, self.out, self.err = server, pid, out, err
        self.status: int | None = None
        self.result: Ended | None = None

    def __del__(self) -> None:
        for file in (self.out, self.err):
            if file is not None:
                file.close()

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether it has ended, after that many seconds at most."""
        if self.status is None:
            self.status = self.server.ask({"wait": self.pid, "seconds": seconds})["status"]
        return self.status is not None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal, if it has not ended."""
        if not self.ended():
            os.kill(self.pid, number)

    def kill_after(self, seconds: float, number: int = signal.SIGKILL) -> None:
        """Send a signal after that many seconds, if it has not ended."""
        if not self.ended(seconds):
            self.kill(number)

    def kill_when(self, condition: Callable[[], object], number: int = signal.SIGKILL, timeout: float = 60) -> None:
        """Send a signal as soon as the condition holds, if it has not ended by then.

        Looks about a thousand times a second, so what is to be seen must stay a while.
        """
        limit = time.monotonic() + timeout
        while not condition():
            if self.ended(0.001):
                return
            assert time.monotonic() < limit, "the condition never held"
        self.kill(number)

    def said(self) -> str:
        """What it has written to stderr so far."""
        return _read(self.err) if self.result is None else self.result.err

    def wait(self, timeout: float = 60) -> Ended:
        """How it ended. A process that a signal killed has the status -N, as with subprocess."""
        if not self.ended(timeout):
            self.kill()
            self.ended(10)
            raise AssertionError(f"not ended after {timeout} s; it said: {self.said()}")
        if self.result is None:
            assert self.status is not None
            self.result = Ended(self.status, _read(self.out), _read(self.err))
            for file in (self.out, self.err):
                if file is not None:
                    file.close()
        return self.result


def _read(file: IO[bytes] | None) -> str:
    return "" if file is None else os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()


class ForkServer:
    """A process that has imported the program, and forks a child for each run of it.

    Args:
        wrapper: a command that ends with ``exec`` of its arguments, to start the process by (``unshare``, say).

    Use it with ``with``; it is for one thread of one process at a time.
    """

    def __init__(self, wrapper: Sequence[str] = ()) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [*wrapper, sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=environment(),
                pass_fds=[theirs.fileno()],
            )
        self.ask({})  # it answers when everything is imported

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()
        self.process.wait(timeout=60)

    def ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Send a request, with file descriptors, and return the answer."""
        socket.send_fds(self.socket, [json.dumps(request).encode() + b"\n"], list(descriptors))
        answer = b""
        while not answer.endswith(b"\n"):
            more = self.socket.recv(65536)
            assert more, "the process to fork from is gone"
            answer += more
        return dict(json.loads(answer))

    def start(
        self,
        *args: object,
        cwd: Path,
        stdin: Stream = b"",
        stdout: Stream = "keep",
        stderr: Stream = "keep",
        before: str = "",
        **env: str | None,
    ) -> Child:
        """Start ``flowcli ARGS``.

        Args:
            stdin: what comes on it, a path, an open file or its number, or ``None``: closed (``<&-``).
            stdout: a path, an open file or its number, or ``None``: closed (``>&-``); by default what is written is
                kept, for :meth:`Child.wait`.
            stderr: likewise.
            before: Python that the child runs before the program.
            env: variables on top of :func:`running.environment`; ``None`` takes one away.
        """
        variables = {name: value for name, value in {**environment(), **env}.items() if value is not None}
        with ExitStack() as stack:
            kept: list[IO[bytes] | None] = [None, None]
            numbers: list[int | None] = []
            for place, stream in enumerate((stdin, stdout, stderr)):
                if stream == "keep":
                    stream = kept[place - 1] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 (lives in the child)
                elif isinstance(stream, bytes):
                    content = stack.enter_context(tempfile.TemporaryFile(buffering=0))
                    content.write(stream)
                    content.seek(0)
                    stream = content
                elif isinstance(stream, (str, Path)):
                    stream = stack.enter_context(Path(stream).open("wb" if place else "rb", buffering=0))
                numbers.append(stream if isinstance(stream, int) or stream is None else stream.fileno())
            request = {"args": [str(arg) for arg in args], "cwd": str(cwd), "env": variables, "before": before}
            request["open"] = [number is not None for number in numbers]
            pid = self.ask(request, [number for number in numbers if number is not None])["pid"]
        return Child(self, pid, *kept)

    def run(self, *args: object, cwd: Path, timeout: float = 60, **options: Any) -> Ended:
        """Run ``flowcli ARGS`` to its end; the options are those of :meth:`start`."""
        return self.start(*args, cwd=cwd, **options).wait(timeout)


# The other side


def _serve(connection: socket.socket) -> None:
    """Answer requests until the other side is gone."""
    import pkgutil

    import pandas  # noqa: F401
    import torch._dynamo  # which torch itself imports at the first step of an optimiser

    import flowcli

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(flowcli.__path__, "flowcli."):
        importlib.import_module(module.name)
    os.environ.clear()
    # As the program sets it first of all.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # What is there by now stays: a child's collector need not look at it, which would copy it.
    gc.collect()
    gc.freeze()
    while True:
        message, descriptors = b"", []
        while not message.endswith(b"\n"):
            more, received, _, _ = socket.recv_fds(connection, 65536, 3)
            if not more:
                return
            message += more
            descriptors += received
        request = json.loads(message)
        if "args" in request:
            pid = os.fork()
            if not pid:
                connection.close()
                _become(request, descriptors)
            answer: dict[str, Any] = {"pid": pid}
        elif "wait" in request:
            answer = {"status": _status(**request)}
        else:
            answer = {}
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _status(wait: int, seconds: float) -> int | None:
    if seconds and not hasattr(os, "pidfd_open"):
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and not os.waitid(os.P_PID, wait, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.002)
    elif seconds:
        descriptor = os.pidfd_open(wait)
        select.select([descriptor], [], [], seconds)
        os.close(descriptor)
    pid, status = os.waitpid(wait, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    """Be the program: with its folder, environment and files, as an interpreter that has just started."""
    status = 1
    try:
        left = iter(descriptors)
        for place, there in enumerate(request["open"]):
            os.dup2(next(left), place) if there else os.close(place)
        os.closerange(3, max([*descriptors, 3]) + 1)
        sys.stdin, sys.stdout, sys.stderr = (
            _text(place) if there else None  # type: ignore[assignment]
            for place, there in enumerate(request["open"])
        )
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        tempfile.tempdir = None
        sys.argv = ["flowcli", *request["args"]]
        # The tests themselves may run in the background, or under nohup.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        exec(request["before"], {})
        status = _main()
    except BaseException:
        traceback.print_exc()
    os._exit(status)


def _text(place: int) -> Any:
    """As the interpreter opens it: what is dropped is not closed."""
    if place == 0:
        return open(0, encoding="utf-8", closefd=False)
    if place == 1:
        return open(1, "w", encoding="utf-8", closefd=False)
    return open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _main() -> int:
    """The status that the interpreter would end with."""
    from flowcli.__main__ import main

    try:
        main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    if sys.stdout is not None and not sys.stdout.closed:
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            traceback.print_exc()
            status = 120
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            status = 120
    return status


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
