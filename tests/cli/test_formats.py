"""Real tables in and out: formats, compressions, encodings, and the input's columns beside the scores."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import pty
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from commands import alike
from running import environment

from flowcli.tables.json_source import PIECE_BYTES
from flowcli.tables.read import read_table

NUMBERS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ENDINGS = [
    "csv",
    "tsv",
    "jsonl",
    *(f"{text}.{packed}" for text in ("csv", "tsv", "jsonl") for packed in ("gz", "zst", "xz", "bz2")),
    "parquet",
    "arrow",
    "feather",
    "arrows",
]


def scores(path) -> list[float]:
    return [float(score) for score in read_table([str(path)]).cells["log_prob"].to_pylist()]


def expected(cli, source, run) -> list[float]:
    done = cli("score", source, "-m", run)
    assert done.status == 0, done.err
    return [float(line) for line in done.lines[1:]]


@pytest.fixture
def wide(tmp_path, iris):
    """Iris between an id with leading zeros and a note that needs quotes."""
    header, *rows = iris.read_text().splitlines()
    text = f"id,{header},note\n" + "".join(f'{i:03},{row},"a ""b"", {i}"\n' for i, row in enumerate(rows))
    (tmp_path / "wide.csv").write_text(text)
    return "wide.csv"


@pytest.fixture(scope="module")
def records(iris):
    """Iris as dicts with numbers."""
    frame = pd.read_csv(iris)
    return frame.to_dict("records")


def in_two_pieces(path, first, last) -> int:
    """Write the row ``first`` as often as one piece holds, and ``last``; gives their number."""
    line = json.dumps({**first, "filler": "x" * 500}) + "\n"
    rows = PIECE_BYTES // len(line) + 1
    path.write_text(line * rows + json.dumps(last) + "\n")
    return rows + 1


# Formats and compressions


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_goes_out_and_comes_in_again(cli, tmp_path, iris, iris_run, ending):
    for command, source, target in (("encode", iris, "latents"), ("decode", f"latents.{ending}", "rows")):
        done = cli(command, source, "-m", iris_run, "-o", f"{target}.{ending}")
        assert (done.status, done.out, done.err) == (0, "", "")
    rows = read_table([f"rows.{ending}"]).cells.to_pydict()
    original = pd.read_csv(iris)
    assert rows["species"] == original["species"].tolist()
    for name in NUMBERS:
        assert [float(x) for x in rows[name]] == pytest.approx(original[name].tolist(), abs=1e-3)
    # Standard input is the same as the file.
    piped = cli("decode", "-m", iris_run, stdin=(tmp_path / f"latents.{ending}").read_bytes())
    assert piped.out == cli("decode", f"latents.{ending}", "-m", iris_run).out
    assert len(piped.lines) == 151


@pytest.mark.parametrize(
    ("ending", "undone"), [("gz", gzip.decompress), ("xz", lzma.decompress), ("bz2", bz2.decompress)]
)
def test_what_is_compressed_is_the_plain_file(cli, tmp_path, iris, iris_run, ending, undone):
    for name in ("s.csv", f"s.csv.{ending}"):
        assert cli("score", iris, "-m", iris_run, "-o", name).status == 0
    assert undone((tmp_path / f"s.csv.{ending}").read_bytes()) == (tmp_path / "s.csv").read_bytes()


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrows"])
def test_columnar_formats_through_a_real_pipe(server, tmp_path, cli, iris, iris_run, kind):
    reading, writing = os.pipe()
    encoding = server.start("encode", iris, "-m", iris_run, "--format", kind, stdout=writing, cwd=tmp_path)
    decoding = server.start("decode", "-m", iris_run, stdin=reading, cwd=tmp_path)
    os.close(reading)
    os.close(writing)
    encoded, decoded = encoding.wait(), decoding.wait()
    assert (encoded.status, encoded.err, decoded.status, decoded.err) == (0, "", 0, "")
    assert cli("encode", iris, "-m", iris_run, "-o", "latents.csv").status == 0
    assert alike(decoded.out, cli("decode", "latents.csv", "-m", iris_run).out)


@pytest.mark.parametrize("command", ["score", "encode", "sample"])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet", "arrow", "arrows"])
def test_the_format_that_is_given_wins_over_the_ending(cli, tmp_path, iris, iris_run, command, form):
    data = ["--n", "7", "--seed", "1"] if command == "sample" else [iris]
    assert cli(command, *data, "-m", iris_run, "-o", f"by_ending.{form}").status == 0
    for name in ("named.any", "named.jsonl"):
        assert cli(command, *data, "-m", iris_run, "-o", name, "--format", form).status == 0
        assert (tmp_path / name).read_bytes() == (tmp_path / f"by_ending.{form}").read_bytes()


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl"])
def test_the_format_of_stdout(cli, tmp_path, iris, iris_run, form):
    assert cli("score", iris, "-m", iris_run, "-o", f"s.{form}").status == 0
    assert cli("score", iris, "-m", iris_run, "--format", form, "-o", "-").out == (tmp_path / f"s.{form}").read_text()


@pytest.mark.parametrize("args", [["-o", "s.any"], ["-o", "s.parquet.gz"], ["--format", "xls"], ["--encoding", "hex"]])
def test_wrong_formats_and_encodings_are_usage_errors(cli, iris, iris_run, args):
    done = cli("score", iris, "-m", iris_run, *args)
    assert (done.status, done.out) == (2, "")
    assert args[0] in done.err


@pytest.mark.parametrize("args", [["score", "{iris}"], ["sample", "--n", "3"]])
@pytest.mark.parametrize("form", ["parquet", "arrow", "csv"])
def test_binary_formats_are_not_for_a_terminal(server, tmp_path, iris, iris_run, args, form):
    master, slave = pty.openpty()
    line = [*(arg.format(iris=iris) for arg in args), "--format", form, "-m", iris_run]
    done = server.run(*line, stdout=slave, cwd=tmp_path)
    os.close(slave)
    os.close(master)
    assert done.status == (0 if form == "csv" else 2)
    assert form == "csv" or f"{form} is not for a terminal" in done.err


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "csv.zst", "csv.xz", "jsonl.bz2", "parquet", "arrow", "arrows"])
def test_a_mistake_far_down_leaves_no_file_and_no_noise(server, tmp_path, iris, gaussian_run, ending):
    header, *rows = iris.read_text().splitlines(keepends=True)
    (tmp_path / "t.csv").write_text(header + "".join(rows * 500) + "5.1,3.5,x,0.2,setosa\n")
    done = server.run("score", "t.csv", "-m", gaussian_run, "-o", f"s.{ending}", cwd=tmp_path)
    assert done.status == 1
    assert done.err == "flowcli: t.csv: row 75001, column 'petal_length': 'x' is not a number\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_source_cut_short_is_told_from_a_file_and_from_stdin(cli, tmp_path, iris, iris_run, pack):
    content = pack(iris.read_bytes())[:-9]
    (tmp_path / "t.csv").write_bytes(content)
    for name, done in (
        ("t.csv", cli("score", "t.csv", "-m", iris_run)),
        ("standard input", cli("score", "-m", iris_run, stdin=content)),
    ):
        assert done.status == 1
        assert done.err.startswith(f"flowcli: {name}: ")
        assert len(done.err.splitlines()) == 1


# Encodings


@pytest.fixture
def latin(tmp_path, iris):
    """Iris with a label that is not ASCII, in Latin-1."""
    text = iris.read_text().replace("setosa", "größte")
    (tmp_path / "latin.csv").write_bytes(text.encode("latin-1"))
    (tmp_path / "utf8.csv").write_text(text, encoding="utf-8")
    return "latin.csv"


@pytest.fixture
def run_of_latin(cli, latin):
    done = cli("fit", latin, "--encoding", "latin-1", "-c", "gaussian", "-o", "run")
    assert done.status == 0, done.err
    assert "flowcli score latin.csv -m run --encoding latin-1" in done.err
    return "run"


def test_an_encoding_is_read_the_same_by_every_command(cli, tmp_path, latin, run_of_latin):
    assert cli("fit", "utf8.csv", "-c", "gaussian", "-o", "other", "-q").status == 0
    assert (tmp_path / "run/test_scores.csv").read_text() == (tmp_path / "other/test_scores.csv").read_text()
    for command in ("score", "encode"):
        plain = cli(command, "utf8.csv", "-m", run_of_latin)
        assert plain.status == 0
        assert cli(command, latin, "-m", run_of_latin, "--encoding", "latin-1").out == plain.out
        piped = cli(command, "-m", run_of_latin, "--encoding", "latin-1", stdin=(tmp_path / latin).read_bytes())
        assert piped.out == plain.out
    latents = cli("encode", "utf8.csv", "-m", run_of_latin).out
    plain = cli("decode", "-m", run_of_latin, stdin=latents)
    assert "größte" in plain.out
    other = cli("decode", "-m", run_of_latin, "--encoding", "utf-16", stdin=latents.encode("utf-16"))
    assert other.out == plain.out


def test_without_its_encoding_a_table_is_refused_with_advice(cli, latin, run_of_latin):
    for command in (["score", "-m", run_of_latin], ["fit"], ["init"]):
        done = cli(*command, latin)
        assert done.status == 1
        told = done.err.splitlines()[-1]
        assert told.startswith("flowcli: latin.csv: line 2: 0xF6, at byte ")
        assert told.endswith("add --encoding latin-1")


def test_the_encoding_is_kept_in_the_config(cli, tmp_path, latin, run_of_latin):
    assert "encoding: latin-1" in (tmp_path / "run/config.yaml").read_text()
    again = cli("fit", latin, "-c", "run/config.yaml", "-o", "again", "-q")
    assert again.status == 0, again.err
    for name in ("model.safetensors", "metrics.json"):
        (tmp_path / "again" / name).unlink()
    resumed = cli("fit", "--resume", "again", "-q")
    assert (resumed.status, resumed.out) == (0, "again\n"), resumed.err
    assert (tmp_path / "run/test_scores.csv").read_text() == (tmp_path / "again/test_scores.csv").read_text()


def test_files_for_validation_and_test_are_in_the_same_encoding(cli, latin):
    done = cli("fit", latin, "--test", latin, "--validation", latin, "--encoding", "latin-1", "-s", "train.epochs=1")
    assert done.status == 0, done.err


def test_init_keeps_the_encoding(cli, tmp_path, latin):
    done = cli("init", latin, "--encoding", "latin-1")
    (tmp_path / "flow.yaml").write_text(done.out, encoding="utf-8")
    assert cli("fit", latin, "-c", "flow.yaml", "-s", "train.epochs=1", "-q").status == 0


@pytest.mark.parametrize("args", [["--encoding", "nope"], ["-s", "data.encoding=nope"], ["-s", "data.encoding=rot13"]])
def test_an_unknown_encoding_is_a_usage_error(cli, iris, args):
    done = cli("fit", iris, *args)
    assert done.status == 2
    assert "unknown encoding" in done.err


# The input's columns beside the scores


def test_keep_copies_columns_as_they_are(cli, iris, iris_run, wide):
    done = cli("score", wide, "-m", iris_run, "--keep", "note,id,sepal_length")
    assert done.status == 0
    rows = list(csv.reader(io.StringIO(done.out)))
    assert rows[0] == ["note", "id", "sepal_length", "log_prob"]
    assert rows[8][:3] == ['a "b", 7', "007", "5.0"]
    assert [float(row[3]) for row in rows[1:]] == expected(cli, iris, iris_run)


def test_append_copies_all_columns_as_they_are(cli, tmp_path, iris, iris_run, wide):
    done = cli("score", wide, "-m", iris_run, "--append")
    assert (done.status, done.err) == (0, "")
    before = list(csv.reader(io.StringIO((tmp_path / wide).read_text())))
    rows = list(csv.reader(io.StringIO(done.out)))
    assert rows[0] == [*before[0], "log_prob"]
    assert [row[:-1] for row in rows] == before
    assert [float(row[-1]) for row in rows[1:]] == expected(cli, iris, iris_run)


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl", "tsv.gz"])
def test_typed_columns_are_kept_with_their_types(cli, tmp_path, iris, iris_run, ending):
    frame = pd.read_csv(iris)
    table = pa.table({"id": pa.array(range(150)), **{name: frame[name].to_numpy() for name in NUMBERS}})
    table = table.append_column("species", pa.array(frame["species"].tolist()).dictionary_encode())
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    assert cli("score", "t.parquet", "-m", iris_run, "--append", "-o", f"s.{ending}").status == 0
    written = read_table([f"s.{ending}"]).cells
    if ending != "tsv.gz":
        assert [str(kind) for kind in written.schema.types] == ["int64", *["double"] * 4, "string", "double"]
    assert [str(x) for x in written["id"].to_pylist()] == [str(i) for i in range(150)]
    assert written["species"].to_pylist() == frame["species"].tolist()


def test_keep_over_several_files_finds_columns_by_name(cli, tmp_path, iris_run, wide):
    frame = pd.read_csv(tmp_path / wide, dtype=str)
    frame[frame.columns[::-1]].to_csv(tmp_path / "turned.csv", index=False)
    for args in (["--keep", "id,note"], ["--append"]):
        done = cli("score", wide, "turned.csv", "-m", iris_run, *args)
        assert done.status == 0, done.err
        assert done.lines[1:151] == done.lines[151:]


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["--keep", "idd"], 1, "wide.csv has no column 'idd' (did you mean 'id'?)"),
        (["--keep", "id", "--append"], 2, "--append copies every column"),
        (["--keep", "id,note,id"], 2, "names a column twice"),
    ],
)
def test_what_cannot_be_kept(cli, iris_run, wide, args, status, words):
    done = cli("score", wide, "-m", iris_run, *args)
    assert (done.status, done.out) == (status, "")
    assert words in done.err


@pytest.mark.parametrize("args", [["--append"], ["--keep", "log_prob"]])
def test_scores_are_not_appended_twice(cli, iris, iris_run, args):
    assert cli("score", iris, "-m", iris_run, "--append", "-o", "s.csv").status == 0
    done = cli("score", "s.csv", "-m", iris_run, *args)
    assert done.status == 1
    assert "s.csv: has a column 'log_prob' already" in done.err


# Chunks of one table that differ


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow"])
def test_holes_and_numbers_of_another_type_in_a_later_chunk(cli, tmp_path, records, iris_run, ending):
    first = {**records[0], "id": 1.5, "note": "x"}
    rows = in_two_pieces(tmp_path / "t.jsonl", first, {**records[0], "id": 2})
    done = cli("score", "t.jsonl", "-m", iris_run, "--append", "-o", f"s.{ending}")
    assert done.status == 0, done.err
    last = read_table([f"s.{ending}"]).cells.slice(rows - 1).to_pydict()
    assert [float(x) for x in last["id"]] == [2.0]
    assert last["note"] == [{"csv": ""}.get(ending)]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_a_type_that_the_first_rows_have_not_is_told(cli, tmp_path, records, iris_run, ending):
    rows = in_two_pieces(tmp_path / "t.jsonl", {**records[0], "id": 1}, {**records[0], "id": 2.5})
    done = cli("score", "t.jsonl", "-m", iris_run, "--keep", "id", "-o", f"s.{ending}")
    assert done.status == 1
    assert done.err.splitlines()[-1].startswith(f"flowcli: column 'id' holds double after {rows - 1:,} rows of int64, ")
    assert "Traceback" not in done.err
    assert cli("score", "t.jsonl", "-m", iris_run, "--keep", "id", "-o", "s.csv").status == 0
    assert (tmp_path / "s.csv").read_text().splitlines()[-1].startswith("2.5,")


def test_a_hole_in_a_modelled_column_is_a_hole_whichever_chunk(cli, tmp_path, records, iris_run):
    in_two_pieces(tmp_path / "t.jsonl", records[0], {k: v for k, v in records[0].items() if k != "sepal_length"})
    done = cli("score", "t.jsonl", "-m", iris_run, "--on-bad-row", "empty", "-o", "s.csv")
    assert done.status == 0, done.err
    assert read_table(["s.csv"]).cells["log_prob"].to_pylist()[-1] == ""


# What is ignored is told, once


@pytest.mark.parametrize("command", ["score", "encode"])
def test_ignored_columns_are_told_once(cli, iris_run, wide, command):
    done = cli(command, wide, wide, "-m", iris_run)
    assert done.status == 0
    assert done.err == "ignored columns: 'id', 'note'\n"
    assert cli(command, wide, "-m", iris_run, "-q").err == ""


def test_ignored_columns_of_decode(cli, tmp_path, conditional_run, iris):
    latents = cli("encode", iris, "-m", conditional_run)
    assert latents.err == ""
    assert cli("decode", "-m", conditional_run, stdin=latents.out).err == ""
    wider = "\n".join(f"{line},{'id,petal_length' if i == 0 else '1,1'}" for i, line in enumerate(latents.lines))
    done = cli("decode", "-m", conditional_run, stdin=wider)
    assert done.err == "ignored columns: 'id', 'petal_length'\n"


def test_many_ignored_columns_are_counted(cli, tmp_path, iris, iris_run):
    header, *rows = iris.read_text().splitlines()
    more = [f"c{i}" for i in range(1007)]
    (tmp_path / "t.csv").write_text("\n".join([",".join([header, *more]), *(row + ",1" * len(more) for row in rows)]))
    done = cli("score", "t.csv", "-m", iris_run)
    assert done.err == "ignored columns: 'c0', 'c1', 'c2', 'c3', 'c4' and 1,002 more\n"


def test_kept_columns_are_not_ignored(cli, iris_run, wide):
    assert cli("score", wide, "-m", iris_run, "--keep", "id").err == "ignored columns: 'note'\n"
    assert cli("score", wide, "-m", iris_run, "--keep", "id,note").err == ""
    assert cli("score", wide, "-m", iris_run, "--append").err == ""


# Constant memory


# The peak of the process alone: what the operating system reports to the parent has the parent's own in it.
MEASURED = """
import atexit, pathlib, sys
def tell():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")).split()[1], file=sys.stderr)
atexit.register(tell)
from flowcli.cli.app import main
main()
"""


def peak_and_lines(args, cwd, source) -> tuple[int, int]:
    """The peak memory of the program in KiB, with the source on its standard input, and the lines it wrote."""
    command = [sys.executable, "-c", MEASURED, *map(str, args)]
    with source.open("rb") as stdin:
        done = subprocess.run(command, cwd=cwd, stdin=stdin, capture_output=True, env=environment(), check=True)
    return int(done.stderr), done.stdout.count(b"\n")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no peak memory here")
@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path, iris, gaussian_run, kind):
    # A note makes the rows long: 30 and 150 MB of cells, for few rows to score.
    header, *rows = iris.read_text().splitlines()
    head = f"{header},note\n".encode()
    part = "".join(f"{row},{'x' * 3250}\n" for row in rows).encode() * 6
    peaks = []
    for times in (60, 300):
        source = tmp_path / f"t.{kind}"
        if kind == "parquet":
            table = pa.csv.read_csv(io.BytesIO(head + part))
            options = {"use_dictionary": False, "compression": "none"}
            with pyarrow.parquet.ParquetWriter(source, table.schema, **options) as writer:
                for _ in range(times // 6):
                    writer.write_table(table)
        else:
            with gzip.open(source, "wb", 1) if kind == "csv.gz" else source.open("wb") as file:
                file.write(head)
                for _ in range(times // 6):
                    file.write(part)
        peak, lines = peak_and_lines(["score", "-", "-m", gaussian_run, "-q"], tmp_path, source)
        assert lines == 150 * times + 1
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 80_000


def test_rows_come_before_the_input_ends(tmp_path, iris, gaussian_run):
    header, *rows = iris.read_text().splitlines(keepends=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "flowcli", "score", "-m", gaussian_run],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write((header + "".join(rows * 2000)).encode())
    process.stdin.flush()
    # The pipe is still open.
    assert process.stdout.readline() == b"log_prob\n"
    assert float(process.stdout.readline())
    process.stdin.close()
    assert process.stdout.read().count(b"\n") == 150 * 2000 - 1
    process.stdout.close()
    assert process.wait(timeout=60) == 0
