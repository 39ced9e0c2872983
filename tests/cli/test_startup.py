"""Help, checks and usage errors answer at once: nothing heavy is imported."""

import contextlib
import json
import subprocess
import sys
import time

import pytest
from commands import alike
from hostile import put_together, taken_apart
from running import Ended, environment, run_program

from flowcli import __version__
from flowcli.cli.app import app

HEAVY = {
    "torch",
    "pandas",
    "numpy",
    "pyro",
    "pyarrow",
    "scipy",
    "sklearn",
    "safetensors",
    "matplotlib",
    "bokeh",
    "jinja2",
}
COMMANDS = [
    *([command.name] for command in app.registered_commands),
    ["config"],
    *(["config", name] for name in ("list", "check", "show", "schema")),
]

BAD_CONFIG = "flow: {transforms: [affin]}\ntrain: {epocs: 3}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table, a bad config, and a run folder that holds something."""
    folder = tmp_path_factory.mktemp("startup")
    (folder / "t.csv").write_text("x,y\n1,2\n3,4\n")
    (folder / "bad.yaml").write_text(BAD_CONFIG)
    (folder / "broken.yaml").write_text("train: [\n")
    (folder / "taken").mkdir()
    (folder / "taken" / "notes.txt").write_text("mine")
    return folder


def imported(folder, *args):
    """How the program ended, and which heavy packages it imported."""
    ended = run_program(*args, cwd=folder, python=("-X", "importtime"))
    told, modules = [], set()
    for line in ended.err.splitlines():
        if line.startswith("import time:"):
            modules.add(line.rpartition("|")[2].strip().split(".")[0])
        else:
            told.append(line)
    assert "flowcli" in modules
    return ended, "\n".join(told), modules & HEAVY


# A process that runs one command line after the other: what none of them has imported, each does without.
LIGHT = """
import json, os, sys
from flowcli.cli.app import main
_, out, err, *heavy = sys.argv
asked, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
for line in asked:
    for number, name in ((0, os.devnull), (1, out), (2, err)):
        file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["flowcli", *json.loads(line)]
    status = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code
    sys.stdout.flush()
    imported = {name.split(".")[0] for name in sys.modules}
    print(json.dumps([status, sorted(imported & set(heavy))]), file=answers, flush=True)
"""


@contextlib.contextmanager
def one_process(folder, aside, heavy):
    """Runs ``flowcli ARGS`` in the folder: how it ended, and which of the heavy packages are imported by then."""
    with subprocess.Popen(
        [sys.executable, "-c", LIGHT, aside / "out", aside / "err", *heavy],
        cwd=folder,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def run(*args):
            process.stdin.write(json.dumps([*map(str, args)]) + "\n")
            process.stdin.flush()
            status, heavy = json.loads(process.stdout.readline())
            return Ended(status, (aside / "out").read_text(), (aside / "err").read_text()), heavy

        yield run


@pytest.fixture(scope="module")
def light(folder, tmp_path_factory):
    with one_process(folder, tmp_path_factory.mktemp("aside"), HEAVY) as run:
        yield run


def test_every_command_is_known_here():
    assert {
        "fit",
        "score",
        "sample",
        "encode",
        "decode",
        "evaluate",
        "compare",
        "plot",
        "report",
        "show",
        "transforms",
        "init",
    } <= {names[0] for names in COMMANDS}


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("names", [[], *COMMANDS], ids=" ".join)
def test_help(light, names, option):
    ended, heavy = light(*names, option)
    assert ended.status == 0
    assert ended.out.startswith(f"Usage: {' '.join(['flowcli', *names])}")
    assert ended.err == ""
    assert heavy == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--help"], "Usage: "),
        (["--version"], f"flowcli {__version__}"),
        (["config", "list"], "realnvp"),
        (["config", "show", "maf"], "affine_autoregressive"),
        (["config", "schema"], "$schema"),
        (["transforms"], "spline_coupling"),
        (["transforms", "--json"], '"reference"'),
        (["transforms", "permute"], "order"),
        (["init"], "learning_rate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_needs_no_data(folder, args, words):
    ended, told, heavy = imported(folder, *args)
    assert ended.status == 0
    assert words in ended.out
    assert told == ""
    assert heavy == set()


def test_a_good_config_is_checked(folder):
    ended, told, heavy = imported(folder, "config", "check", "maf", "-s", "train.epochs=3")
    assert (ended.status, ended.out) == (0, "")
    assert "good" in told
    assert heavy == set()


USAGE_ERRORS = [
    (["nope"], "No such command 'nope'"),
    (["fit", "--nope"], "No such option"),
    (["score", "--model"], "requires an argument"),
    (["sample"], "--n"),
    (["sample", "--n", "x"], "--n"),
    (["sample", "--n", "-1"], "--n"),
    (["sample", "--n", "3", "--given", "species"], "COLUMN=VALUE"),
    (["sample", "--n", "3", "--given", "a=1", "--given-file", "t.csv"], "not both"),
    (["sample", "--n", "3", "--where", "a >"], "write it like"),
    (["sample", "--n", "3", "--given-file", "nowhere.csv"], "nowhere.csv: no such file"),
    (["sample", "--n", "3"], "no model"),
    (["sample", "--n", "3", "-m", "nowhere"], "nowhere: no such run"),
    (["sample", "--n", "3", "-o", "out.xyz"], ".parquet"),
    (["show"], "no model"),
    (["show", "nowhere"], "nowhere: no such run"),
    (["show", "taken"], "taken"),
    (["score", "nowhere.csv"], "nowhere.csv: no such file"),
    (["score", "taken"], "taken: is a folder without tables"),
    (["score", "t.csv"], "no model"),
    (["score", "t.csv", "-m", "nowhere"], "nowhere: no such run"),
    (["score", "t.csv", "-m", "taken"], "taken"),
    (["score", "t.csv", "-m", "taken", "-o", "out.xyz"], ".parquet"),
    (["score", "t.csv", "--on-bad-row", "skip"], "--on-bad-row"),
    (["score", "t.csv", "--format", "xls"], "--format"),
    (["score", "t.csv", "-o", "out.parquet.gz"], "only csv, tsv, jsonl are compressed"),
    (["score", "t.csv", "--encoding", "nope"], "unknown encoding 'nope'"),
    (["score", "t.csv", "--append", "--keep", "x"], "--append"),
    (["score", "t.csv", "--keep", "x,y,x"], "twice"),
    (["score", "t.csv", "--device", "tpu"], "--device"),
    (["score", "-", "-"], "once"),
    (["score", "--engine", "ray", "-o", "out/"], "not standard input"),
    (["score", "t.csv", "--engine", "ray"], "not standard output"),
    (["score", "t.csv", "--engine", "ray", "-o", "out/", "--device", "cuda:1"], "--device cuda, not cuda:1"),
    (["score", "t.csv", "--engine", "spark"], "--engine"),
    (["score", "t.csv", "-o", "taken"], "the ending says the format"),
    (["score", "t.csv", "-o", "taken/"], "holds something already"),
    (["score", "t.csv", "-o", "taken/", "--force"], "'notes.txt', which is no table"),
    (["score", "t.csv", "-o", "t.csv/"], "is a file"),
    (["score", "t.csv", "t.csv", "-o", "out/"], "would be the same table"),
    (["score", "t.csv", "-o", "s3://bucket/out/"], "of this machine"),
    (["score", "nothing://there/t.csv"], "nothing://there/t.csv: Protocol not known"),
    (["sample", "--n", "3", "--engine", "ray"], "not standard output"),
    (["encode", "t.csv", "-m", "nowhere"], "nowhere: no such run"),
    (["export"], "no model"),
    (["export", "-m", "nowhere"], "nowhere: no such run"),
    (["export", "-o", "t.csv"], "--force"),
    (["export", "--function", "encode"], "--function"),
    (["decode", "t.csv", "-m", "nowhere"], "nowhere: no such run"),
    (["decode", "nowhere.csv"], "nowhere.csv: no such file"),
    (["evaluate", "nowhere.csv"], "nowhere.csv: no such file"),
    (["evaluate"], "no model"),
    (["evaluate", "-m", "nowhere"], "nowhere: no such run"),
    (["evaluate", "t.csv", "--train", "nowhere.csv"], "nowhere.csv: no such file"),
    (["evaluate", "t.csv", "--fail-under", "x"], "--fail-under"),
    (["evaluate", "t.csv", "--n", "3"], "--n"),
    (["compare"], "two runs"),
    (["compare", "taken"], "two runs"),
    (["compare", "taken", "taken"], "twice"),
    (["compare", "taken", "nowhere"], "holds no model"),
    (["compare", "taken", "other", "--data", "nowhere.csv"], "nowhere.csv: no such file"),
    (["plot", "paris", "-m", "taken"], "did you mean 'pairs'?"),
    (["plot", "t.csv"], "no model"),
    (["plot", "training", "t.csv"], "DATA is for pairs, density, latents; training has no use for it"),
    (["plot", "pairs", "--given", "x=1"], "--given is for density, steps"),
    (["plot", "density", "--columns", "x,y,z"], "one column or two"),
    (["plot", "-o", "-"], "names a file"),
    (["plot", "-o", "it.jpg"], ".png, .svg or .pdf"),
    (["plot", "steps", "--animate", "-o", "it.png"], ".gif"),
    (["plot", "--transform", "splin"], "Did you mean 'spline'?"),
    (["plot", "--transform", "spline", "t.csv"], "no KIND or DATA"),
    (["plot", "--transform", "spline", "-s", "bins"], "KEY=VALUE"),
    (["report"], "no model"),
    (["report", "nowhere.csv"], "nowhere.csv: no such file"),
    (["report", "-o", "-"], "names a file"),
    (["report", "-o", "it.pdf"], ".html"),
    (["fit", "nowhere.csv"], "nowhere.csv: no such file"),
    (["fit", "t.csv", "-c", "nowhere"], "no config file or preset 'nowhere'"),
    (["fit", "t.csv", "-c", "bad.yaml"], "Did you mean 'affine'"),
    (["fit", "t.csv", "-c", "broken.yaml"], "not YAML"),
    (["fit", "t.csv", "-s", "train.epocs=3"], "Did you mean 'epochs'"),
    (["fit", "t.csv", "-s", "seed"], "KEY=VALUE"),
    (["fit", "t.csv", "--seed", "-1"], "--seed"),
    (["fit", "t.csv", "--seed", "99999999999999999999"], "--seed"),
    (["fit", "t.csv", "--max-time", "soon"], "--max-time"),
    (["fit", "t.csv", "--test", "nowhere.csv"], "nowhere.csv: no such file"),
    (["fit", "t.csv", "--encoding", "rot13"], "unknown encoding 'rot13'"),
    (["fit", "t.csv", "-s", "data.encoding=nope"], "unknown encoding 'nope'"),
    (["fit", "t.csv", "-o", "taken"], "--force"),
    (["fit", "t.csv", "-o", "t.csv"], "is a file"),
    (["fit", "--resume", "nowhere"], "nowhere"),
    (["fit", "--resume", "taken", "-c", "maf"], "--resume"),
    (["fit", "t.csv", "--device", "tpu"], "--device"),
    (["tune", "nowhere.csv"], "nowhere.csv: no such file"),
    (["tune", "t.csv", "-c", "bad.yaml"], "Did you mean 'affine'"),
    (["tune", "t.csv", "-s", "tune.flow.repeat=3"], "--set tune.flow.repeat: 'tune.flow.repeat': write a list"),
    (["tune", "t.csv", "--max-time", "soon"], "--max-time"),
    (["tune", "t.csv", "-o", "taken"], "holds something else than a search"),
    (["tune", "-", "--jobs", "2"], "stdin"),
    (["fit", "t.csv", "--track", "wandb"], "--track"),
    (["config", "check", "bad.yaml"], "bad.yaml:1:21: unknown transform 'affin'. Did you mean 'affine'?"),
    (["config", "check", "broken.yaml"], "broken.yaml:2:1"),
    (["config", "show", "realnpv"], "Did you mean 'realnvp'?"),
    (["transforms", "splin"], "Did you mean 'spline'?"),
    (["init", "nowhere.csv"], "nowhere.csv: no such file"),
]


@pytest.mark.parametrize(("args", "words"), USAGE_ERRORS, ids=[" ".join(args) for args, _ in USAGE_ERRORS])
def test_usage_errors(light, args, words):
    ended, heavy = light(*args)
    assert ended.status == 2
    assert ended.out == ""
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert "unexpected" not in ended.err
    assert heavy == []


@pytest.mark.parametrize(
    "args", [["score", "t.csv", "-m", "nowhere"], ["fit", "t.csv", "-c", "bad.yaml"]], ids=" ".join
)
def test_usage_errors_of_the_real_program(folder, args):
    ended, told, heavy = imported(folder, *args)
    assert (ended.status, ended.out) == (2, "")
    assert told
    assert "Traceback" not in told
    assert heavy == set()


def test_usage_errors_leave_nothing_behind(cli, tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n3,4\n")
    for args in (["-s", "train.epocs=3", "-o", "new/run"], ["-s", "train.epocs=3"], ["--device", "tpu"]):
        assert cli("fit", "t.csv", *args).status == 2
        assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def quickest(limit, *args, cwd):
    """How long the command takes: the shortest of three times, or the first that is short enough."""
    taken = []
    while len(taken) < 3 and min(taken, default=limit + 1) > limit:
        start = time.perf_counter()
        assert run_program(*args, cwd=cwd).status == 0
        taken.append(time.perf_counter() - start)
    return min(taken)


def test_help_is_quick(folder):
    # The aim is a quarter of a second; a busy machine is given three, and three tries.
    assert quickest(0.75, "--help", cwd=folder) <= 0.75


# Commands on small inputs, in a process of their own each.

PLAIN_TABLE = "a,b,c,d\n" + "".join(
    f"{i * 7 % 31 / 10},{i * i % 37 / 8},{i * 3 % 17 / 4},{i * i % 29 / 5}\n" for i in range(40)
)
MIXED_TABLE = "x,y,k,l,d,c\n" + "".join(
    f"{i * 7 % 31 / 10},{i * i % 37 / 8 if i % 5 else ''},{i % 4},{'uvw'[i * i % 3]},2020-01-{1 + i % 28:02},{i % 3}\n"
    for i in range(60)
)
LIGHT_MODELS = {
    "maf": (PLAIN_TABLE, ["-c", "maf"]),
    "spline coupling": (PLAIN_TABLE, ["-c", "nsf_coupling"]),
    "spline autoregressive": (PLAIN_TABLE, ["-c", "nsf_autoregressive"]),
    "conditional": (PLAIN_TABLE, ["-c", "realnvp", "--context", "d"]),
    "mixture": (PLAIN_TABLE, ["-c", "mixture_base"]),
    "student": (PLAIN_TABLE, ["-c", "elliptical"]),
    "densities side by side": (PLAIN_TABLE, []),
    "labels, holes, integers and dates": (MIXED_TABLE, ["-s", "data.kinds={k: ordinal, c: label}"]),
    "labels and a context": (MIXED_TABLE, ["-c", "discrete_flows", "--context", "c", "-s", "data.kinds={c: label}"]),
}  # fmt: skip

# Says, after the command, which of the heavy packages it imported.
WATCHED = """
import os, sys
from flowcli.cli.app import main
status = 0
try:
    main()
except SystemExit as ended:
    status = ended.code
print(sorted({"torch", "pyro", "pandas", "scipy"} & {*sys.modules}), file=sys.stderr)
# As the program does: Arrow's threads can abort the interpreter's own end.
sys.stdout.flush(), sys.stderr.flush()
os._exit(status or 0)
"""


def watched(where, *args):
    """How a command ends in a process of its own, and the heavy packages that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *map(str, args)], cwd=where, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def torchless(folder, tmp_path_factory):
    with one_process(folder, tmp_path_factory.mktemp("aside"), ["torch", "pyro", "pandas", "scipy"]) as run:
        yield run


@pytest.mark.parametrize("name", LIGHT_MODELS)
def test_small_inputs_do_without_torch(cli, torchless, tmp_path, name):
    table, options = LIGHT_MODELS[name]
    (tmp_path / "t.csv").write_text(table)
    (tmp_path / "one.csv").write_text("".join(table.splitlines(keepends=True)[:3]))
    assert cli("fit", "t.csv", *options, "-s", "train.epochs=1", "-o", "run").status == 0
    header, row = table.splitlines()[:2]
    given = [
        word for option in options[1:] if options[options.index(option) - 1] == "--context"
        for word in ("--given", f"{option}={row.split(',')[header.split(',').index(option)]}")
    ]  # fmt: skip
    run, one, latents = tmp_path / "run", tmp_path / "one.csv", tmp_path / "latents.csv"
    for args in (
        ["score", one, "-m", run],
        ["sample", "--n", "3", "--seed", "5", "-m", run, *given],
        ["encode", one, "-m", run],
        ["decode", latents, "-m", run],
    ):
        ended, heavy = torchless(*args)
        assert ended.status == 0, ended.err
        assert heavy == [], args
        assert alike(ended.out, cli(*args).out), args
        latents.write_text(ended.out)


def test_a_fit_does_without_pandas(tmp_path):
    (tmp_path / "t.csv").write_text(MIXED_TABLE)
    _, heavy = watched(tmp_path, "fit", "t.csv", "-c", "gaussian", "-s", "train.epochs=1", "-o", "run")
    assert heavy == "['pyro', 'torch']"


def test_a_file_that_was_never_loaded_is_checked_once(cli, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(PLAIN_TABLE)
    assert cli("fit", "t.csv", "-c", "maf", "-s", "train.epochs=1", "-o", "run").status == 0
    before, heavy = watched(tmp_path, "score", "t.csv", "-m", "run")
    assert heavy == "[]"
    # On another machine.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first, second = (watched(tmp_path, "score", "t.csv", "-m", "run") for _ in range(2))
    assert "torch" in first[1]
    assert second[1] == "[]"
    assert first[0] == second[0] == before
    # Where nothing can be kept it is checked each time.
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert [watched(tmp_path, "score", "t.csv", "-m", "run")[1] != "[]" for _ in range(2)] == [True, True]


def change_config(config):
    config["train"]["learning_rate"] = "fast"


def change_architecture(config):
    config["flow"]["transforms"][0]["affine_autoregressive"]["hidden"] = [64, 65]


@pytest.mark.parametrize(
    ("change", "words"), [(change_config, "config.train.learning_rate"), (change_architecture, "its weights are not")]
)
def test_one_row_is_not_scored_by_a_model_whose_config_is_wrong(program, cli, tmp_path, change, words):
    """In a file with the right checksum, which a stranger can compute."""
    (tmp_path / "t.csv").write_text(PLAIN_TABLE)
    assert cli("fit", "t.csv", "-c", "maf", "-s", "train.epochs=1", "-o", "run").status == 0
    header, weights = taken_apart((tmp_path / "run" / "model.safetensors").read_bytes())
    inner = json.loads(header["__metadata__"]["flowcli"])
    change(inner["config"])
    header["__metadata__"]["flowcli"] = json.dumps(inner)
    (tmp_path / "m.safetensors").write_bytes(put_together(header, weights))
    # What was refused is not remembered as good.
    for args in (["score", "t.csv"], ["sample", "--n", "1"]):
        ended = program(*args, "-m", "m.safetensors")
        assert ended.status == 1
        assert ended.out == ""
        assert "m.safetensors: damaged" in ended.err
        assert words in ended.err


def test_what_needs_torch_imports_it(cli, tmp_path):
    (tmp_path / "t.csv").write_text(PLAIN_TABLE)
    settings = ["-s", "flow={repeat: 6, transforms: [{planar: {}}]}", "-s", "train.epochs=1"]
    assert cli("fit", "t.csv", *settings, "-o", "run").status == 0
    assert "small inputs  score, encode without torch; sample, decode with it" in cli("show", "run").lines
    assert watched(tmp_path, "score", "t.csv", "-m", "run")[1] == "[]"
    assert "torch" in watched(tmp_path, "sample", "--n", "3", "-m", "run")[1]
    # So does a large input, whose numbers are the same.
    large = PLAIN_TABLE + "".join(PLAIN_TABLE.splitlines(keepends=True)[1:]) * 6000
    (tmp_path / "large.csv").write_text(large)
    out, heavy = watched(tmp_path, "score", "large.csv", "-m", "run")
    assert "torch" in heavy
    assert alike("".join(out.splitlines(keepends=True)[:41]), watched(tmp_path, "score", "t.csv", "-m", "run")[0])


def test_one_row_is_quick(iris_run, folder):
    (folder / "one.csv").write_text(
        "sepal_length,sepal_width,petal_length,petal_width,species\n5.1,3.5,1.4,0.2,setosa\n"
    )
    for args in (["score", "one.csv", "-m", iris_run], ["sample", "--n", "1", "-m", iris_run]):
        # The aim is 0.35 seconds; importing torch alone takes longer, and on a busy machine much longer, than this.
        assert quickest(2.5, *args, cwd=folder) <= 2.5
