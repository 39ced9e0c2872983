"""Disks that are full, files that cannot be written, streams that are closed, readers that leave, and signals.

Whatever happens to a command's files: it ends with a line that says so and the right status, what was there before is
there still, and nothing half-written stays.
"""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from forking import ForkServer
from running import environment

UNSHARE = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
BEFORE = b"before\n"


def may_mount(folder: Path) -> bool:
    done = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True)
    return done.returncode == 0


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """Runs the program, and where this machine allows it, in a namespace of its own for mounts."""
    mounts = shutil.which("unshare") is not None and may_mount(tmp_path_factory.mktemp("mount"))
    with ForkServer(UNSHARE if mounts else ()) as server:
        server.mounts = mounts
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory, machine, iris):
    """Two runs, tables, and their latents. Not to be changed."""
    folder = tmp_path_factory.mktemp("given")
    shutil.copy(iris, folder / "t.csv")
    header, *rows = iris.read_text().splitlines(keepends=True)
    (folder / "big.csv").write_text(header + "".join(rows * 40))
    for name, setting in (("run", "train.epochs=1"), ("other", "flow.transforms=[triangular_affine]")):
        done = machine.run("fit", folder / "t.csv", "-s", "train.epochs=1", "-s", setting, "-o", name, cwd=folder)
        assert done.status == 0, done.err
    for name in ("t", "big"):
        args = ("encode", folder / f"{name}.csv", "-o", folder / f"{name}-latents.csv", "-m", folder / "run")
        assert machine.run(*args, cwd=folder).status == 0
    return folder


@pytest.fixture
def flowcli(machine, folder, tmp_path):
    """Runs ``flowcli LINE`` in an empty folder; ``{}`` in the line is the folder of tables."""

    def run(line: str, **options):
        return machine.run(
            *line.format(folder).split(), **{"cwd": tmp_path, "FLOWCLI_MODEL": str(folder / "run"), **options}
        )

    return run


@pytest.fixture
def start(machine, folder, tmp_path):
    """Starts ``flowcli LINE``."""

    def begin(line: str, **options):
        return machine.start(*line.format(folder).split(), cwd=tmp_path, FLOWCLI_MODEL=str(folder / "run"), **options)

    return begin


def refused(done, status: int, *words: str) -> None:
    """One line says no, and the status does."""
    assert done.status == status, done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert "Traceback" not in done.err
    assert "unexpected" not in done.err
    for word in words:
        assert word in done.err, done.err


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SMALL = {
    "score": "score {}/t.csv",
    "sample": "sample --n 150",
    "encode": "encode {}/t.csv",
    "decode": "decode {}/t-latents.csv",
}
LARGE = {
    "score": "score {}/big.csv",
    "sample": "sample --n 6000",
    "encode": "encode {}/big.csv",
    "decode": "decode {}/big-latents.csv",
}
ENDINGS = ["csv.gz", "csv.zst", "csv.bz2", "csv.xz", "tsv", "jsonl", "parquet", "arrow", "arrows"]
FIT = "fit {}/t.csv -c gaussian -q"


# A full disk


class Mounted:
    """A small file system that only the program's namespace has, at a folder of the test's."""

    def __init__(self, machine, place: Path) -> None:
        self.place = place
        # As the program sees it.
        self.inside = Path(f"/proc/{machine.process.pid}/root{place}")

    def of(self, kilobytes: int, *more: str) -> str:
        """Python that mounts it with that much room, after which the commands are run."""
        self.place.mkdir(exist_ok=True)
        commands = [f"mount -t tmpfs -o size={kilobytes}k tmpfs '{self.place}'", *more]
        return f"import os\nassert not os.system({' && '.join(commands)!r})"


@pytest.fixture
def disk(machine, tmp_path):
    if not machine.mounts:
        pytest.skip("nothing can be mounted here")
    return Mounted(machine, tmp_path / "disk")


@pytest.mark.parametrize(
    ("command", "ending"), [*((name, "csv") for name in LARGE), *(("sample", ending) for ending in ENDINGS)]
)
def test_a_full_disk_keeps_the_file_that_was_there(flowcli, disk, command, ending):
    name = f"out.{ending}"
    before = disk.of(8, f"echo before > {disk.place}/{name}")
    done = flowcli(f"{LARGE[command]} -o disk/{name} --force", before=before)
    refused(done, 1, f"disk/{name}: cannot be written: No space left")
    assert contents(disk.inside) == {name: BEFORE}


@pytest.mark.parametrize("kilobytes", [0, 4, 8, 16, 24, 60])
@pytest.mark.parametrize("force", [False, True])
def test_a_full_disk_leaves_no_half_run(flowcli, disk, folder, kilobytes, force):
    earlier = {f"run/{name}": content for name, content in contents(folder / "other").items()} if force else {}
    held = sum(-(-len(content) // 4096) for content in earlier.values()) * 4
    before = disk.of(max(4, held + kilobytes), f"cp -r '{folder}/other' '{disk.place}/run'" if force else "true")
    done = flowcli(f"{FIT} -o disk/run {'--force' if force else ''} --seed 1", before=before)
    found = contents(disk.inside)
    assert not any("/." in name for name in found)
    if done.status:
        refused(done, 1, "No space left")
        assert kilobytes < 60
        if found != earlier:
            # What was trained is kept, and is not taken for a finished run.
            assert "flowcli fit --resume disk/run" in done.err
            refused(flowcli("show disk/run"), 2, "did not finish", "flowcli fit --resume disk/run")
    else:
        assert flowcli("show disk/run").status == 0


@pytest.mark.parametrize("rows", [150, 5])
def test_no_room_for_what_is_kept_while_fitting(flowcli, disk, folder, rows):
    # A table on stdin is kept; so are the rows of a table too large for the memory.
    text = (folder / "big.csv").read_bytes()
    before = disk.of(8) + f"\nimport flowcli.preprocess.spool as s\ns.MOST_ROWS_IN_MEMORY = {rows}"
    line = "fit -" if rows == 150 else "fit {}/big.csv"
    done = flowcli(f"{line} -c gaussian -q -o run", stdin=text, before=before, TMPDIR=str(disk.place))
    refused(done, 1, "cannot be kept", "No space left", str(disk.place))
    assert contents(disk.inside) == {}
    assert not (disk.place.parent / "run").exists()


STDOUT = [
    *LARGE.values(),
    *(f"score {{}}/t.csv --format {form}" for form in ("tsv", "jsonl", "parquet", "arrow", "arrows")),
    FIT + " --json",
    "show",
    "show --json",
    "transforms",
    "transforms spline --json",
    "init",
    "init {}/t.csv",
    "config list",
    "config show maf",
    "config schema",
    "score --help",
    "--version",
]


@pytest.mark.parametrize("line", STDOUT)
@pytest.mark.parametrize("to", ["/dev/full", None], ids=["full", "closed"])
def test_a_stdout_that_takes_nothing(flowcli, line, to):
    if to and not Path(to).exists():
        pytest.skip("no /dev/full here")
    refused(flowcli(line, stdout=to), 1, "cannot write to stdout", "No space left" if to else "Bad file descriptor")


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_nearly_full_disk_as_stdout(flowcli, disk, unbuffered):
    # It takes a part of what is written at last.
    before = disk.of(4) + f"\nos.dup2(os.open('{disk.place}/out', os.O_CREAT | os.O_WRONLY), 1)"
    if unbuffered:
        raw = "open(1, 'wb', buffering=0, closefd=False)"
        before += f"\nimport io, sys\nsys.stdout = io.TextIOWrapper({raw}, write_through=True)"
    refused(flowcli("encode {}/t.csv", before=before), 1, "cannot write to stdout: No space left")


# stdin and stderr


@pytest.mark.parametrize("stderr", [None, "/dev/full", "pipe"])
@pytest.mark.parametrize("line", ["score {}/t.csv", "sample --n 3 --seed 1 -v", "fit", "show", "config check maf"])
def test_nobody_hears_what_is_said(flowcli, line, stderr):
    if line == "fit":
        line = "fit {}/t.csv -c gaussian -o run --force -v"
    expected = flowcli(line)
    if stderr == "pipe":
        reading, stderr = os.pipe()
        os.close(reading)
    done = flowcli(line, stderr=stderr)
    assert (done.status, done.out) == (0, expected.out)
    if isinstance(stderr, int):
        os.close(stderr)


@pytest.mark.parametrize("stderr", [None, "/dev/full"])
@pytest.mark.parametrize(
    ("line", "status"),
    [("score nowhere.csv", 2), ("score {0}/t.csv -m {0}/t.csv", 1), ("score --nope", 2), (FIT + " -s seed=x", 2)],
)
def test_an_error_that_nobody_hears_keeps_its_status(flowcli, line, status, stderr):
    done = flowcli(line.replace("{}", "{0}"), stderr=stderr)
    assert (done.status, done.out) == (status, "")


def test_a_closed_stdin(flowcli):
    for line in ("score", "encode -", FIT.replace("{}/t.csv", "-")):
        refused(flowcli(line, stdin=None), 2, "standard input is closed")
    assert flowcli("score {}/t.csv", stdin=None).status == 0


def test_no_stream_at_all(flowcli, tmp_path):
    expected = flowcli("score {}/t.csv").out
    assert flowcli("score {}/t.csv -o out.csv", stdin=None, stdout=None, stderr=None).status == 0
    assert contents(tmp_path) == {"out.csv": expected.encode()}


def test_what_came_before_an_error_is_written(flowcli, folder, tmp_path):
    header, *rows = (folder / "big.csv").read_text().splitlines(keepends=True)
    (tmp_path / "bad.csv").write_text(header + "".join(rows * 12) + "5.1,3.5,1.4,x,setosa\n")
    done = flowcli("score bad.csv")
    refused(done, 1, "72001")
    # All chunks but the last, to their last row.
    whole = flowcli("score {}/big.csv").lines
    assert len(done.lines) > 10_000
    assert done.out.endswith("\n")
    assert done.lines == [whole[0], *whole[1:] * 12][: len(done.lines)]


# Readers that leave


@pytest.mark.parametrize(
    "line", [*LARGE.values(), "score {}/big.csv --format parquet", "transforms --json", "config schema"]
)
@pytest.mark.parametrize("how", ["at once", "after a line", "after a stall"])
def test_a_reader_that_leaves(start, line, how):
    reading, writing = os.pipe()
    child = start(line, stdout=writing)
    os.close(writing)
    if how == "after a line":
        os.read(reading, 10)
    elif how == "after a stall":
        child.ended(0.2)
    os.close(reading)
    done = child.wait()
    # -13: by the signal, which a shell calls 141
    assert done.status in (0, 141, -signal.SIGPIPE)
    assert done.err == ""


def waiting(reading: int) -> int:
    """How much there is to be read."""
    return struct.unpack("i", fcntl.ioctl(reading, termios.FIONREAD, b"\0\0\0\0"))[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_reader_stalls(start, number):
    reading, writing = os.pipe()
    child = start(LARGE["encode"], stdout=writing)
    os.close(writing)
    child.kill_when(lambda: waiting(reading) > 50_000, number)
    refused(child.wait(20), 130, "interrupted")
    os.close(reading)


# What -o can name


@pytest.fixture
def scores(flowcli):
    return flowcli(SMALL["score"]).out.encode()


@pytest.mark.parametrize("command", SMALL)
def test_a_file_that_is_there_is_replaced_only_by_force(flowcli, tmp_path, command):
    (tmp_path / "out.csv").write_bytes(BEFORE)
    refused(flowcli(f"{SMALL[command]} -o out.csv"), 2, "out.csv: is there already; --force replaces it")
    assert contents(tmp_path) == {"out.csv": BEFORE}
    assert flowcli(f"{SMALL[command]} -o out.csv --force").status == 0
    assert contents(tmp_path).keys() == {"out.csv"}
    assert (tmp_path / "out.csv").read_bytes().count(b"\n") == 151


def test_the_input_as_the_output(flowcli, folder, tmp_path):
    rows = (folder / "big.csv").read_bytes()
    (tmp_path / "t.csv").write_bytes(rows)
    (tmp_path / "link.csv").symlink_to("t.csv")
    for name in ("t.csv", "link.csv"):
        refused(flowcli(f"score t.csv --append -o {name}"), 2, "--force")
    assert (tmp_path / "t.csv").read_bytes() == rows
    # With --force it is read to its end, and replaced when all is written.
    assert flowcli("score t.csv --append -o t.csv --force").status == 0
    scored = (tmp_path / "t.csv").read_bytes().splitlines()
    assert [line.rpartition(b",")[0] for line in scored] == rows.splitlines()
    (tmp_path / "bad.csv").write_bytes(rows + b"5.1,3.5,1.4,x,setosa\n")
    refused(flowcli("score bad.csv --append -o bad.csv --force"), 1, "6001")
    assert (tmp_path / "bad.csv").read_bytes() == rows + b"5.1,3.5,1.4,x,setosa\n"


@pytest.mark.parametrize("command", SMALL)
def test_a_folder_is_no_output(flowcli, tmp_path, command):
    (tmp_path / "out.csv").mkdir()
    for more in ("", "--force"):
        refused(flowcli(f"{SMALL[command]} -o out.csv {more}"), 2, "out.csv: is a folder")
    assert list((tmp_path / "out.csv").iterdir()) == []


def test_a_replaced_file_stays_private(flowcli, tmp_path):
    (tmp_path / "out.csv").write_bytes(BEFORE)
    (tmp_path / "out.csv").chmod(0o600)
    assert flowcli(f"{SMALL['score']} -o out.csv --force").status == 0
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600


def test_links(flowcli, tmp_path, scores):
    (tmp_path / "new.csv").symlink_to("made.csv")
    assert flowcli(f"{SMALL['score']} -o new.csv").status == 0
    (tmp_path / "old.csv").write_bytes(BEFORE)
    (tmp_path / "link.csv").symlink_to("old.csv")
    refused(flowcli(f"{SMALL['score']} -o link.csv"), 2, "link.csv: is there already")
    assert (tmp_path / "old.csv").read_bytes() == BEFORE
    assert flowcli(f"{SMALL['score']} -o link.csv --force").status == 0
    assert (tmp_path / "new.csv").is_symlink()
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "made.csv").read_bytes() == (tmp_path / "old.csv").read_bytes() == scores
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    refused(flowcli(f"{SMALL['score']} -o loop.csv"), 1, "loop.csv: cannot be written")
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("name", ["nowhere/out.csv", "x" * 300 + ".csv", "/sys/out.csv", "t/out.csv"])
def test_where_no_file_can_be(flowcli, tmp_path, name):
    (tmp_path / "t").write_bytes(BEFORE)
    refused(flowcli(f"{SMALL['score']} -o {name}"), 1, f"{name}: cannot be written")
    assert contents(tmp_path) == {"t": BEFORE}


def test_where_no_run_can_be(flowcli, tmp_path, folder):
    (tmp_path / "t").write_bytes(BEFORE)
    for place, status in (("x" * 300, 1), ("t/run", 1), ("/sys/run", 1), ("t", 2)):
        refused(flowcli(f"{FIT} -o {place}"), status, place)
    refused(flowcli("show " + "x" * 300), 1, "File name too long")
    assert contents(tmp_path) == {"t": BEFORE}
    name = "ü" * 120 + ".csv"
    shutil.copy(folder / "t.csv", tmp_path / name)
    assert flowcli(f"fit {name} -c gaussian -q").status == 0


def test_a_long_name_is_a_name(flowcli, tmp_path, scores):
    name = "ü" * 120 + ".csv"
    assert flowcli(f"{SMALL['score']} -o {name}").status == 0
    assert contents(tmp_path) == {name: scores}


@pytest.mark.parametrize("name", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_devices_and_open_files(flowcli, tmp_path, scores, name):
    if not Path(name).exists():
        pytest.skip(f"no {name} here")
    done = flowcli(f"{SMALL['score']} -o {name} --format csv")
    assert (done.status, done.err) == (0, "")
    assert done.out.encode() == (b"" if name == "/dev/null" else scores)
    assert list(tmp_path.iterdir()) == []
    assert not Path("/dev/null").is_file()


def test_an_open_file_is_added_to(flowcli, tmp_path, scores):
    (tmp_path / "out.csv").write_bytes(BEFORE)
    with (tmp_path / "out.csv").open("ab") as out:
        assert flowcli(f"{SMALL['score']} -o /dev/stdout --format csv", stdout=out).status == 0
    assert (tmp_path / "out.csv").read_bytes() == BEFORE + scores


def test_a_full_device(flowcli):
    refused(flowcli(f"{SMALL['score']} -o /dev/full --format csv"), 1, "cannot write to /dev/full: No space left")


@pytest.mark.parametrize("command", LARGE)
def test_a_named_pipe_is_written_into(start, flowcli, tmp_path, command):
    os.mkfifo(tmp_path / "out.csv")
    line = LARGE[command] + (" --seed 1" if command == "sample" else "")
    child = start(f"{line} -o out.csv")
    with (tmp_path / "out.csv").open("rb") as pipe:
        content = pipe.read()
    assert child.wait().status == 0
    assert content == flowcli(line).out.encode()
    child = start(f"{line} -o out.csv")
    with (tmp_path / "out.csv").open("rb") as pipe:
        pipe.read(10)
    done = child.wait()
    assert (done.status, done.err) == (141, "")
    assert (tmp_path / "out.csv").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1


# Where a command is run


def test_a_read_only_disk(flowcli, disk, folder):
    disk_is_full_of = (
        f"cp -r '{folder}/run' '{folder}/t.csv' '{disk.place}' && mkdir '{disk.place}/empty' '{disk.place}/cut'"
    )
    cut = f"cp '{disk.place}/run/checkpoint.safetensors' '{disk.place}/cut'"
    before = disk.of(4000, disk_is_full_of, cut, f"mount -o remount,ro '{disk.place}'")
    assert flowcli("score disk/t.csv -m disk/run", before=before).status == 0
    there = contents(disk.inside)
    for line, status, words in [
        ("score disk/t.csv -o disk/out.csv", 1, "disk/out.csv: cannot be written: Read-only"),
        ("score disk/t.csv -o disk/t.csv --force", 1, "disk/t.csv: cannot be written: Read-only"),
        ("score disk/t.csv -o disk/t.csv", 2, "--force"),
        ("fit disk/t.csv -q -o disk/new", 1, "disk/new: cannot be made: Read-only"),
        # Told before the training.
        ("fit disk/t.csv -o disk/empty", 1, "disk/empty: cannot be written to: Read-only"),
        ("fit disk/t.csv -o disk/run --force", 1, "disk/run: cannot be written to: Read-only"),
        ("fit --resume disk/cut", 1, "disk/cut: cannot be written to: Read-only"),
    ]:
        refused(flowcli(line), status, words)
    assert contents(disk.inside) == there
    assert flowcli(FIT, cwd=disk.place).status == 1


def test_a_working_directory_that_is_gone(flowcli, tmp_path, folder, scores):
    def gone(line):
        place = tmp_path / "gone"
        place.mkdir()
        return flowcli(line, cwd=place, before="import os\nos.rmdir(os.getcwd())")

    done = gone(SMALL["score"])
    assert (done.status, done.out.encode()) == (0, scores)
    for line in (
        "show",
        "transforms",
        "sample --n 3",
        f"{SMALL['score']} -o {tmp_path}/out.csv",
        f"{FIT} -o {tmp_path}/r",
    ):
        assert gone(line).status == 0
    refused(gone(f"{SMALL['score']} -o out.csv"), 1, "out.csv: cannot be written: No such file")
    refused(gone("score t.csv"), 2, "t.csv: no such file")
    refused(gone(FIT), 1, "cannot be made: No such file")
    refused(gone(f"{FIT} -o run"), 1, "cannot be made: No such file")


def test_no_home_and_no_folder_for_temporary_files(flowcli, tmp_path, folder):
    without = {"HOME": None, "USER": None, "LOGNAME": None, "PATH": None, "TMPDIR": str(tmp_path / "nowhere")}
    for line in (SMALL["score"], "show", FIT + " -o run"):
        assert flowcli(line, **without).status == 0
    done = flowcli("fit - -c gaussian -q -o other", stdin=(folder / "t.csv").read_bytes(), **without)
    assert done.status == 0, done.err


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("command", ["score", "sample"])
def test_a_signal_while_a_file_is_written(start, flowcli, tmp_path, command, number):
    (tmp_path / "out.csv").write_bytes(BEFORE)
    line = {"score": LARGE["score"] + " {}/big.csv" * 20, "sample": "sample --n 3000000"}[command]
    child = start(f"{line.replace('{}', '{0}')} -o out.csv --force")
    child.kill_when(lambda: any(path.stat().st_size for path in tmp_path.glob(".out.csv.*")), number)
    done = child.wait()
    if number == signal.SIGKILL:
        assert done.status == -signal.SIGKILL
        assert (tmp_path / "out.csv").read_bytes() == BEFORE
    else:
        refused(done, 130, "interrupted")
        assert contents(tmp_path) == {"out.csv": BEFORE}


@pytest.mark.parametrize("seconds", [0.03, 0.06, 0.1, 0.2])
def test_a_stop_at_the_very_beginning(tmp_path, seconds):
    # The interpreter's own start is not the program's.
    line = [sys.executable, "-c", "from flowcli.__main__ import main; print('up', flush=True); main()", "init"]
    program = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    with program:
        assert program.stdout.readline() == b"up\n"
        time.sleep(seconds)
        program.send_signal(signal.SIGINT)
        assert b"Traceback" not in program.communicate(timeout=60)[1]
    assert program.returncode in (-signal.SIGINT, 130, 0)


def test_nohup_is_respected(start):
    child = start("sample --n 20000", before="import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)")
    child.kill_after(0.2, signal.SIGHUP)
    assert child.wait().status == 0
