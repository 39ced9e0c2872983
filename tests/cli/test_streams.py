"""stdout carries data only, stderr what people are told, and both end well."""

import csv
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading

import pytest
from commands import alike
from running import environment

BASH = shutil.which("bash")
FLOWCLI = f'"{sys.executable}" -m flowcli'


@pytest.fixture(scope="module")
def big(tmp_path_factory, iris):
    """Rows whose scores are more than a pipe holds."""
    header, *rows = iris.read_text().splitlines(keepends=True)
    path = tmp_path_factory.mktemp("big") / "big.csv"
    path.write_text(header + "".join(rows * 100))
    return path


def shell(line: str, cwd, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [BASH, "-c", line], cwd=cwd, capture_output=True, text=True, env=environment(**env), timeout=120
    )


@pytest.mark.parametrize("command", ["score '{big}'", "sample --n 30000"])
def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path, iris_run, big, command):
    done = shell(f"{FLOWCLI} {command.format(big=big)} -m '{iris_run}' | head -1; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode in (0, 141)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("command", ["config schema", "transforms --json", "--help"])
def test_a_reader_that_never_was(tmp_path, command):
    done = shell(f"sleep 0.1; {FLOWCLI} {command} | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
@pytest.mark.parametrize("command", ["score '{iris}'", "config list", "--help", "--version"])
def test_a_full_disk_is_told_in_one_line(tmp_path, iris, iris_run, command):
    done = shell(f"{FLOWCLI} {command.format(iris=iris)} > /dev/full", tmp_path, FLOWCLI_MODEL=str(iris_run))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left" in done.stderr


def test_stdin_is_the_same_as_the_file(cli, iris, iris_run):
    named = cli("score", iris, "-m", iris_run)
    dash = cli("score", "-", "-m", iris_run, stdin=iris.read_bytes())
    unnamed = cli("score", "-m", iris_run, stdin=iris.read_bytes())
    assert named.status == dash.status == unnamed.status == 0
    assert named.out == dash.out == unnamed.out
    assert len(named.lines) == 151


def test_a_pipe_is_the_same_as_the_file(tmp_path, cli, iris, iris_run):
    done = shell(f"gzip -c '{iris}' | {FLOWCLI} score -m '{iris_run}'", tmp_path)
    assert done.stderr == ""
    assert alike(done.stdout, cli("score", iris, "-m", iris_run).out)


def test_a_fit_of_stdin(cli, tmp_path, iris):
    done = cli("fit", "-", "-s", "train.epochs=1", "-q", stdin=iris.read_bytes())
    assert done.status == 0, done.err
    assert re.fullmatch(r"runs/stdin-\d{8}-\d{6}\n", done.out)


@pytest.mark.parametrize("verbosity", [[], ["-v"]])
def test_nothing_but_csv_on_stdout(cli, iris, iris_run, verbosity):
    for command in (["score", iris], ["encode", iris], ["sample", "--n", "20"]):
        done = cli(*command, "-m", iris_run, *verbosity)
        rows = list(csv.reader(io.StringIO(done.out)))
        assert len({len(row) for row in rows}) == 1
        numbers = [cell for row in rows[1:] for cell, name in zip(row, rows[0], strict=True) if name != "species"]
        assert all(float(cell) == float(cell) for cell in numbers)


def test_a_fit_says_its_folder_on_stdout_and_all_else_on_stderr(iris_fit):
    assert iris_fit.ended.out == f"{iris_fit.folder}\n"
    for word in ("135 training", "species", "spline_autoregressive", "log-likelihood", "flowcli sample"):
        assert word in iris_fit.ended.err


def test_a_pipe_gets_no_colours_and_no_bar(iris_fit):
    for text in (iris_fit.ended.out, iris_fit.ended.err):
        assert "\x1b" not in text
        assert "\r" not in text
        assert "━" not in text


def test_quiet_is_silent(cli, tmp_path, iris, iris_run):
    table = tmp_path / "t.csv"
    table.write_text(iris.read_text().replace("setosa\n", "tulip\n", 1))
    for command in (
        ["score", table, "-m", iris_run],
        ["sample", "--n", "2", "-m", iris_run],
        ["fit", iris, "-s", "train.epochs=1"],
        ["config", "check", "maf"],
    ):
        done = cli(*command, "--quiet")
        assert done.status == 0
        assert done.err == ""


def test_quiet_still_says_what_went_wrong(cli, iris):
    done = cli("score", "nowhere.csv", "-q")
    assert done.status == 2
    assert done.err.splitlines() == ["flowcli: nowhere.csv: no such file"]


def test_verbose_says_the_seed_of_a_sample(cli, iris_run):
    done = cli("sample", "--n", "3", "-m", iris_run, "-v")
    (seed,) = re.findall(r"seed (\d+)", done.err)
    assert cli("sample", "--n", "3", "-m", iris_run, "--seed", seed).out == done.out


@pytest.mark.parametrize("args", [["fit"], ["show"], ["transforms"], ["transforms", "spline"]], ids=" ".join)
def test_json_is_one_value_and_alone_on_stdout(cli, iris, iris_run, args):
    more = {"fit": [iris, "-s", "train.epochs=1", "-o", "run"], "show": [iris_run]}.get(args[0], [])
    done = cli(*args, *more, "--json")
    assert done.status == 0, done.err
    assert isinstance(
        json.loads(done.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON")), (dict, list)
    )


# A terminal


def on_terminal(server, args, cwd, stdin: bool, stderr: bool):
    """Run the program with a terminal as its stdin or stderr; its status, stdout, and what the terminal showed."""
    master, slave = pty.openpty()
    shown = bytearray()

    def read():
        while True:
            try:
                chunk = os.read(master, 4096)
            except OSError:
                return  # Linux says so when the other side is closed
            if not chunk:
                return
            shown.extend(chunk)

    reader = threading.Thread(target=read, daemon=True)
    streams = {"stdin": slave if stdin else b"", "stderr": slave if stderr else "keep"}
    child = server.start(*args, cwd=cwd, TERM="xterm-256color", **streams)
    os.close(slave)
    reader.start()
    done = child.wait()
    reader.join(timeout=10)
    os.close(master)
    return done.status, done.out, done.err or shown.decode()


@pytest.mark.parametrize("args", [["score"], ["encode"], ["fit"], ["score", "-"]], ids=" ".join)
def test_no_table_on_a_terminal_is_a_usage_error_with_a_hint(server, tmp_path, args):
    status, out, err = on_terminal(server, args, tmp_path, stdin=True, stderr=False)
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "name a file, or pipe a table in" in err


def test_a_terminal_gets_a_bar_on_stderr(server, tmp_path, iris):
    args = ["fit", iris, "-s", "train.epochs=3", "-o", "run"]
    status, out, shown = on_terminal(server, args, tmp_path, stdin=False, stderr=True)
    assert (status, out) == (0, "run\n")
    assert "epoch 9/9" in shown
    assert "\x1b[" in shown
    # NO_COLOR is set: the cursor may move, colours (SGR with a number) may not come.
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", shown)
    assert "log-likelihood" in shown


def test_quiet_on_a_terminal_shows_nothing(server, tmp_path, iris):
    args = ["fit", iris, "-s", "train.epochs=1", "-o", "run", "-q"]
    status, out, shown = on_terminal(server, args, tmp_path, stdin=False, stderr=True)
    assert (status, out, shown) == (0, "run\n", "")
