"""Files from strangers: model files and configs that were changed at random, tried out in a process with limits.

``python tests/hostile.py models FOLDER FIRST LAST`` tries the files of these seeds, and writes to stdout a line of JSON
for each that did not end as it must: in a result, or in one line of error that names the file.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import json
import math
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 10.0
# Of address space, beyond what the process has when it begins.
BYTES = 1 << 30

ROWS = {
    "x": [round(math.sin(3 * i), 3) for i in range(60)],
    "y": [[0.5, 0.5, 0.7, "", 1.2, 3.1][i * i % 6] for i in range(60)],
    "k": [[0, 1, 1, 2, 5][i * 7 % 5] for i in range(60)],
    "l": [["a", "b", "c"][i * i % 3] for i in range(60)],
    "d": [f"2020-01-{1 + i * 11 % 28:02}" for i in range(60)],
}
SMALL = "{hidden: [3], activation: tanh}"
MODELS = {
    "labels and holes": (
        "x,y,l,k",
        f"flow={{transforms: [{{spline_autoregressive: {{hidden: [3], bins: 3}}}}], labels: {{softmax: {SMALL}}}, "
        "ordinals: {integer_flow: {layers: 2, components: 2, hidden: [3]}}}",
        "data.kinds={k: ordinal}",
    ),
    "context": (
        "x,y,l,d",
        "flow={transforms: [{affine_coupling: {hidden: [3]}}, {permute: {order: random}}, actnorm]}",
        "data={context: [l, y], missing: impute}",
    ),
    "mixture": (
        "x,d,k,l",
        "flow={base: {gaussian_mixture: {components: 2}}, transforms: [lu_linear, batchnorm], labels: {modular_flow: "
        "{layers: 1, hidden: [3]}}}",
        "data={plain: true, kinds: {k: label}}",
    ),
    "factors": (
        "x,k,l",
        "flow={factors: [{columns: [l]}, {columns: [k, x], given: [l], transforms: [{chain: {repeat: 2, transforms: "
        "[{sum_of_squares: {hidden: [3]}}]}}, triangular_affine]}]}",
        "data.plain=true",
    ),
    "members": (
        "x,y,l",
        "flow={mixture: [{copies: 2, transforms: [{affine_autoregressive: {hidden: [3]}}, {permute: {order: random}}], "
        f"labels: {{softmax: {SMALL}}}}}, {{transforms: [triangular_affine], base: student_t, labels: {{softmax: "
        f"{SMALL}}}}}]}}",
    ),
}


def table(names: str, rows: int) -> Any:
    """The first rows of some columns, as a table from a file has them."""
    import pyarrow as pa

    from flowcli.tables.table import Origin, Table

    cells = pa.table({name: pa.array([str(cell) for cell in ROWS[name][:rows]]) for name in names.split(",")})
    return Table(cells, (Origin("t.csv", 1, rows),))


def real_models() -> dict[str, bytes]:
    """Small models as fits make them."""
    from flowcli.config.load import load_config
    from flowcli.fitting import fit_table

    files = {"files": ["t.csv"], "sha256": ["0" * 64], "rows": 60, "columns": ["x"], "held_out_sha256": []}
    return {
        name: fit_table(
            table(columns, 60), load_config(None, [*settings, "train.epochs=0"]), device="cpu", data=files
        ).model.to_bytes()
        for name, (columns, *settings) in MODELS.items()
    }


# --- changes

NUMBERS = [0, 1, -1, 2, 3, 7, 255, 10**4, 10**6, 2**31, 2**53, 2**63, 10**30, 10**400, 0.5, -0.5, 1e-320, 1e-300]
NUMBERS += [1e300, -1e300, 1.7e308, math.nan, math.inf, -math.inf]
TEXTS = ["", "x", "\0", "\x1b[31m\x9b", "a\nb", "\u202e", "\ud800", "/dev/zero", "../../etc/passwd", "nan", "1e999"]
TEXTS += ["softmax", "normal", "spline", "permute", "ffjord", "number", "label", "ordinal", "date", "constant"]
TEXTS += ["identifier", "log", "logit", "softplus", "arcsinh", "text", "integer", "boolean", "%Y-%m-%d", "%n" * 50]
TEXTS += ["typed:timestamp[us, tz=../x]", "typed:date32[day]", "2", "x" * 5000, "__proto__", "\u00e9", "l", "y", "d"]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*at, key)
        yield from places(item, (*at, key))


def deep(dice: random.Random) -> Any:
    """Lists within lists, or chains within chains."""
    value: Any = []
    chain = dice.random() < 0.5
    for _ in range(dice.choice([2, 10, 60, 250])):
        value = {"chain": {"repeat": 3, "transforms": [value or "actnorm"]}} if chain else [value]
    return value


def other(value: Any, dice: random.Random) -> Any:
    """Another value, often of the same type."""
    roll = dice.random()
    if isinstance(value, bool) and roll < 0.5:
        return not value
    if isinstance(value, (int, float)) and roll < 0.8:
        return dice.choice([*NUMBERS, value * 2, value + 1, -value])
    if isinstance(value, str) and roll < 0.8:
        return dice.choice(TEXTS)
    if isinstance(value, list) and roll < 0.6:
        return dice.choice([[], value * 2, value * 50, value[:-1], value[::-1], [value], [None]])
    if isinstance(value, dict) and roll < 0.6:
        return dice.choice([{}, {**value, dice.choice(TEXTS): 1}, dict(list(value.items())[1:]), [value]])
    return dice.choice([None, True, 0, -1, "x", [], {}, [[]], deep(dice), *NUMBERS])


def change(value: Any, dice: random.Random) -> None:
    """Change one place within a JSON value, if it has one."""
    path = dice.choice([*places(value)] or [()])
    if not path:
        return
    for key in path[:-1]:
        value = value[key]
    key = path[-1]
    roll = dice.random()
    if roll < 0.12:
        del value[key]
    elif roll < 0.2 and isinstance(value, dict):
        value[dice.choice([*TEXTS, *map(str, value)])] = value.pop(key)
    elif roll < 0.28:
        value[key] = copy.deepcopy(value[dice.choice([*value] if isinstance(value, dict) else range(len(value)))])
    else:
        value[key] = other(value[key], dice)


def dumped(value: Any, dice: random.Random | None = None) -> str:
    """A value as JSON; with dice, one of its keys stands there twice, with another value."""
    text = json.dumps(value)
    if dice is not None:
        starts = [at for at, sign in enumerate(text) if sign == "{" and text[at + 1] == '"']
        at = dice.choice(starts)
        end = text.index('"', at + 2)
        text = f"{text[: at + 1]}{text[at + 1 : end + 1]}: {json.dumps(dice.choice([1, None, 'x']))}, {text[at + 1 :]}"
    return text


def taken_apart(content: bytes) -> tuple[dict[str, Any], bytes]:
    end = 8 + struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8:end]), content[end:]


def put_together(header: Any, weights: bytes, twice: random.Random | None = None) -> bytes:
    """A file with the checksum that it must have: a stranger can compute it."""
    if isinstance(header, dict) and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"].pop("sha256", None)
        rest = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        header["__metadata__"]["sha256"] = hashlib.sha256(rest + weights).hexdigest()
    text = dumped(header, twice).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + weights


def with_checksum(content: bytes) -> bytes:
    """The file with the checksum that it must have, as long as it has a header."""
    try:
        return put_together(*taken_apart(content))
    except (ValueError, struct.error):
        return content


def key_of(metadata: dict[str, str]) -> str:
    """Under which name a model, or a checkpoint, has its own JSON."""
    return next(key for key in metadata if key.startswith("flowcli"))


def flipped(content: bytes, dice: random.Random) -> bytes:
    changed = bytearray(content)
    end = 8 + struct.unpack("<Q", content[:8])[0]
    for _ in range(dice.choice([1, 1, 1, 2, 4, 16])):
        changed[dice.randrange(end if dice.random() < 0.6 else len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def overwritten(content: bytes, dice: random.Random) -> bytes:
    """Some bytes replaced by ones that mean something: as a number, or in JSON."""
    pieces = [b"\xff" * 8, b"\0" * 8, struct.pack("<f", 1e38), struct.pack("<q", 2**40), b"\x00\x00\x80\x7f", b"1e99"]
    piece = dice.choice([*pieces, b"[[[[", b"}}", b'":', b"\\u0000", b"\\ud800", b"-", b"999999999", dice.randbytes(9)])
    at = dice.randrange(len(content) - len(piece))
    return content[:at] + piece + content[at + (len(piece) if dice.random() < 0.7 else 0) :]


def cut(content: bytes, dice: random.Random) -> bytes:
    end = 8 + struct.unpack("<Q", content[:8])[0]
    at = dice.choice([dice.randrange(len(content)), dice.randrange(end + 1), end, len(content) - dice.randrange(9)])
    begin = dice.randrange(len(content))
    return dice.choice(
        [
            content[:at],
            content[:at] + dice.randbytes(dice.randrange(1, 64)),
            content + dice.randbytes(dice.randrange(1, 64)),
            content[:at] + content[begin:],
            struct.pack("<Q", dice.choice([0, 1, 2, 7, at, 2**32, 2**63, 2**64 - 1])) + content[8:],
        ]
    )


def restated(content: bytes, dice: random.Random) -> bytes:
    """The header's own JSON changed: config, columns, figures."""
    header, weights = taken_apart(content)
    key = key_of(header["__metadata__"])
    inner = json.loads(header["__metadata__"][key])
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        sections = [inner, *(part for part in inner.values() if isinstance(part, (dict, list)) and part)]
        change(dice.choice([*sections, *sections[1:]]), dice)
    header["__metadata__"][key] = dumped(inner, dice if dice.random() < 0.05 else None)
    return put_together(header, weights)


def misjudged(content: bytes, dice: random.Random) -> bytes:
    """Other facts of a column, each of its type."""
    header, weights = taken_apart(content)
    key = key_of(header["__metadata__"])
    inner = json.loads(header["__metadata__"][key])
    column = dice.choice(inner["columns"]) if "columns" in inner else inner["progress"]
    for _ in range(dice.choice([1, 1, 2, 3])):
        fact = dice.choice(sorted(column))
        value = column[fact]
        if isinstance(value, bool):
            column[fact] = not value
        elif isinstance(value, list):
            one = dice.choice(TEXTS if fact == "categories" else NUMBERS)
            column[fact] = dice.choice([[*value, one], [one], [], value + value[:1]])
        elif isinstance(value, str):
            column[fact] = dice.choice(TEXTS)
        else:
            column[fact] = dice.choice([*NUMBERS, None])
    header["__metadata__"][key] = dumped(inner)
    return put_together(header, weights)


def retensored(content: bytes, dice: random.Random) -> bytes:
    """What the header says of the tensors changed."""
    header, weights = taken_apart(content)
    names = [name for name in header if name != "__metadata__"]
    one, two = dice.choice(names), dice.choice(names)
    facts = header[one]
    roll = dice.randrange(9)
    if roll == 0:
        header[one], header[two] = header[two], header[one]
    elif roll == 1:
        facts["dtype"] = dice.choice(["F16", "F64", "I64", "BF16", "BOOL", "U8", "I32", "F8_E5M2", "X", "", 3])
    elif roll == 2:
        facts["shape"] = dice.choice([[], [0], facts["shape"][::-1], [1, *facts["shape"]], [2**40, 2**40], [-1], ["3"]])
    elif roll == 3:
        facts["data_offsets"] = dice.choice([header[two]["data_offsets"], [0, 0], [0, 2**63], [-4, 0], [1], [5, 1], {}])
    elif roll == 4:
        del header[one]
    elif roll == 5:
        header[dice.choice([*TEXTS, two + ".x"])] = dice.choice([dict(facts), facts.copy(), 1, None, []])
    elif roll == 6:
        header[dice.choice(TEXTS)] = header.pop(one)
    elif roll == 7:
        change(header, dice)
    else:
        return put_together(header, weights, dice)
    return put_together(header, weights)


def relabelled(content: bytes, dice: random.Random) -> bytes:
    """The metadata around the header's JSON changed."""
    header, weights = taken_apart(content)
    metadata = header["__metadata__"]
    roll = dice.randrange(4)
    if roll == 0:
        change(metadata, dice)
    elif roll == 1:
        key = key_of(metadata)
        text = metadata[key]
        metadata[key] = dice.choice([text[: dice.randrange(len(text))], text * 2, "[" * 9999, "null", text + " x"])
    elif roll == 2:
        metadata[dice.choice([*TEXTS, "flowcli_checkpoint"])] = dice.choice([metadata[key_of(metadata)], "{}", 1])
    else:
        header["__metadata__"] = other(metadata, dice)
    return put_together(header, weights)


def reweighted(content: bytes, dice: random.Random) -> bytes:
    """All of one tensor's numbers changed."""
    header, weights = taken_apart(content)
    facts = dice.choice([facts for name, facts in header.items() if name != "__metadata__"])
    begin, end = facts["data_offsets"]
    whole = facts["dtype"] == "I64"
    extremes = [0.0, 1.0, -1.0, 1e3, -1e3, 1e10, 1e30, -1e30, 3e38, -3e38, 1e-45, math.nan, math.inf, -math.inf]
    wholes = [0, 1, -1, 5, 2**40, -(2**63)]
    number = struct.pack("<q", dice.choice(wholes)) if whole else struct.pack("<f", dice.choice(extremes))
    numbers = number * ((end - begin) // len(number))
    if dice.random() < 0.3:
        numbers = dice.randbytes(end - begin)
    return put_together(header, weights[:begin] + numbers + weights[end:])


def reprogrammed(content: bytes, dice: random.Random) -> bytes:
    """The programs changed: an operation, an argument, the tensors, the sizes."""
    header, weights = taken_apart(content)
    if "programs" not in header["__metadata__"]:
        return restated(content, dice)  # a checkpoint has none
    programs = json.loads(header["__metadata__"]["programs"])
    functions = [function for each in programs["sets"] for function in each["functions"].values()]
    names = sorted({operation[0] for function in functions for operation in function["operations"]})
    for _ in range(dice.choice([1, 1, 1, 2, 3])):
        function = dice.choice(functions)
        operations = function["operations"]
        if dice.random() < 0.1:
            change(programs, dice)
        elif dice.random() < 0.2:
            change(function, dice)
        elif operations:
            operation = dice.choice(operations)
            roll = dice.random()
            if roll < 0.2:
                operation[0] = dice.choice([*names, *PROGRAM_WORDS])
            elif roll < 0.8:
                place = dice.randrange(len(operation))
                size = dice.choice([[2**31], [2**20, 2**20], [128, 10**6], [-1, 128], [0]])
                value = dice.choice([*range(40), *NUMBERS[:13], None, True, size, [0] * 3, ["nan"], "inf"])
                operation[place] = value
            elif roll < 0.9:
                operations.remove(operation)
            else:
                operations.insert(dice.randrange(len(operations)), copy.deepcopy(operation))
    header["__metadata__"]["programs"] = dumped(programs)
    return put_together(header, weights)


PROGRAM_WORDS = ["repeat", "expand", "eye", "bmm", "lgamma", "new_zeros", "cat", "index_put_", "unbind.int", "view"]
MODEL_CHANGES: list[Callable[[bytes, random.Random], bytes]] = [
    flipped, overwritten, cut, restated, restated, misjudged, misjudged, retensored, relabelled, reweighted,
    reprogrammed, reprogrammed,
]  # fmt: skip


def changed_model(models: dict[str, bytes], seed: int) -> tuple[str, bytes]:
    """The model file of a seed: which one it was, and its bytes."""
    dice = random.Random(seed)
    name = dice.choice(sorted(models))
    changed = dice.choice(MODEL_CHANGES)(models[name], dice)
    return name, with_checksum(changed) if dice.random() < 0.7 else changed


# --- configs

CONFIGS = [
    "seed: 3\ntrain: {epochs: 3, learning_rate: 1e-3, max_time: 10m}\n",
    "data:\n  kinds: {sepal_width: label, petal_width: {lower: 0, upper: 1, step: 0.1, spikes: [0.2]}}\n"
    "  drop: [petal_length]\n  context: [species]\n  missing: impute\n  test: test.csv\n  encoding: latin-1\n",
    "flow:\n  base: {gaussian_mixture: {components: 4}}\n  repeat: 2\n  transforms:\n    - coupling: {transformer: "
    "{spline: {bins: 4}}, split: [petal_width]}\n    - permute: {order: [2, 1, 4, 3]}\n    - chain: {repeat: 2, "
    "transforms: [actnorm, {lu_linear: {}}]}\n",
    "flow:\n  factors:\n  - {columns: [species]}\n  - columns: [petal_width, petal_length, sepal_width, sepal_length]\n"
    "    given: [species]\n    transforms: [{spline_autoregressive: {hidden: [8]}}]\n    base: student_t\n",
]
# Pieces of YAML, and of what is none.
PIECES = [": ", "- ", "!!python/name:os.system ", "!x ", "&a ", "*a", "<<: *a", "? ", *"[]{}|>'\"#@`~\t\0\r\n\u2028"]
PIECES += ["\x1b[2J", "\n---\n", "\n...\n", "%YAML 9.9\n", "9" * 5000, "1e999", "-.inf", ".nan", "0x10", "[" * 60]
PIECES += ["{a: " * 60, "x" * 70000, '"\\uD800"', '"\\e[31m"', "&a [1, 2]\nb: *a", "a: &a [*a]", "/dev/zero"]
PIECES += ["../../etc/passwd", "chain", "hidden", "repeat: 1000000000", "\ufeff", "1_000"]


def retyped(text: str, dice: random.Random) -> bytes:
    """The text changed here and there."""
    for _ in range(dice.choice([1, 1, 1, 2, 5])):
        at, end = sorted((dice.randrange(len(text) + 1), dice.randrange(len(text) + 1)))
        lines = text.splitlines(keepends=True) or [""]
        line = dice.randrange(len(lines))
        text = dice.choice(
            [
                text[:at] + text[at + 1 :],
                text[:at] + dice.choice(PIECES) + text[at:],
                text[:at] + dice.choice(PIECES) + text[at + dice.randrange(9) :],
                text[:at] + chr(dice.choice([*range(128), 0x85, 0xA0, 0x2028, 0xFFFE, 0x1F600])) + text[at + 1 :],
                text[:at],
                text[:at] + text[end:],
                text[:end] + text[at:],
                "".join([*lines[:line], dice.choice(lines), *lines[line:]]),
                "".join(lines[:line] + lines[line + 1 :]),
            ]
        )
    content = text.encode("utf-8", "surrogatepass")
    if dice.random() < 0.1:
        at = dice.randrange(len(content) + 1)
        content = content[:at] + dice.choice([b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xfe\xff"]) + content[at:]
    return content


def rebuilt(text: str, dice: random.Random) -> bytes:
    """The values changed here and there."""
    import yaml

    value = yaml.safe_load(text)
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        sections = [value, *(part for part in value.values() if isinstance(part, (dict, list)) and part)]
        change(dice.choice(sections), dice)
    return dumped(value, dice if dice.random() < 0.05 and value else None).encode("utf-8", "surrogatepass")


def changed_config(texts: list[str], seed: int) -> bytes:
    """The config of a seed."""
    dice = random.Random(seed)
    return dice.choice([retyped, rebuilt])(dice.choice(texts), dice)


# --- trials


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """An end after :data:`SECONDS`; every warning is an error."""

    def late(number: int, frame: Any) -> None:
        raise TimeoutError(f"not done after {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def limit_memory() -> None:
    """What is taken beyond the limit fails, and is told as such."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if sys.platform == "linux" else 0
    if pages:
        most = pages * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def obeyed(text: str) -> str:
    """The characters of a text that a terminal, or a reader of lines, does not merely show."""
    return "".join(sign for sign in text if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp"))


def use(path: Path, rows: Any, known: Any = None) -> str:
    """What the commands do with a model; how far it came. Programs other than those known are run, too."""
    from flowcli.cli.show import _described
    from flowcli.errors import FlowcliError
    from flowcli.model import Model
    from flowcli.model_file import read_model_file

    done = "refused"
    try:
        file = read_model_file(path)
        told = _described("m", file)
        assert obeyed(told.replace("\n", "")) == ""
        done = "shown"
        if file.programs is not None and file.programs != known:
            run_programs(file, rows)
        model = Model.load(file, "cpu")
        done = "loaded"
        model.score(rows, "empty")
        done = "scored"
        given = rows if model.encoder.context else None
        model.sample(2, given, seed=0, as_="arrow")
        done = "sampled"
        model.decode(model.encode(rows))
        return "all"
    except FlowcliError as error:
        message = str(error)
        assert message, "no message"
        assert not obeyed(message), "more than one line, or a terminal's commands"
        if done in ("refused", "shown"):
            assert str(path) in message, "the file is not named"
        return done


def run_programs(file: Any, rows: Any) -> None:
    """What the commands do without torch."""
    import numpy as np

    from flowcli.errors import ModelError
    from flowcli.model import program_engine
    from flowcli.preprocess.encoder import TableEncoder

    engine = program_engine(file)
    encoded = TableEncoder(file.header.columns).encode(rows)
    for function in ("log_prob", "encode", "decode", "sample"):
        try:
            if not engine.pays(function, 1):
                continue
            if function == "sample":
                engine.sample(np.random.default_rng(0).random((1, engine.noise_features)), encoded.context)
            else:
                getattr(engine, function)(encoded)
        except ModelError as error:
            message = str(error)
            assert str(file.path) in message, "the file is not named"
            assert len(message.splitlines()) == 1


def use_config(path: Path) -> str:
    """What the commands do with a config, and the density that it asks for, if that is small; how far it came."""
    from flowcli.config.load import dump_config, load_config
    from flowcli.errors import UsageError
    from flowcli.flows.build import assemble
    from flowcli.flows.default import with_default
    from flowcli.flows.layout import Layout
    from flowcli.flows.size import Limited, TooLarge

    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    done = "refused"
    try:
        config = load_config(str(path))
        done = "loaded"
        path.write_text(dump_config(config))
        assert load_config(str(path)) == config, "written and read again, it is another"
        layout = Layout(numbers=names, labels=(("species", 3),), states=(None,) * 4)
        assemble(with_default(config.flow, 100, layout), layout, Limited(weights=5000))
        return "built"
    except TooLarge:
        return "large"
    except UsageError as error:
        lines = str(error).split("\n")
        assert all(line and not obeyed(line) for line in lines), "not lines of text"
        if done == "refused":
            assert str(path) in lines[0], "the file is not named"
        return done


def tried(trial: Callable[[], str], seed: int, counts: Counter[str]) -> None:
    """Try one file; tell of it if it did not end as it must."""
    try:
        with limits():
            counts[trial()] += 1
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        print(json.dumps({"seed": seed, "error": f"{type(error).__name__}: {error}"[:300], "at": place}), flush=True)


def under_way(folder: Path, first: int, last: int) -> Iterator[int]:
    """The seeds; which one is under way stands in a file, for when the process dies of it."""
    # What there is by now stays; the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    with (folder / "seed").open("wb", buffering=0) as file:
        for seed in range(first, last):
            os.pwrite(file.fileno(), b"%d" % seed, 0)
            yield seed


def try_models(folder: Path, first: int, last: int) -> Counter[str]:
    """Try the model files of these seeds."""
    import torch

    from flowcli.model_file import read_model_file

    torch.set_num_threads(1)
    models = {path.stem: path.read_bytes() for path in folder.glob("*.good")}
    rows = {name: table(columns, 1) for name, (columns, *_) in MODELS.items()}
    path = folder / "changed.safetensors"
    known = {}
    for name, content in models.items():
        path.write_bytes(content)
        assert use(path, rows[name]) == "all", name
        known[name] = read_model_file(path).programs
    limit_memory()
    counts: Counter[str] = Counter()
    for seed in under_way(folder, first, last):
        name, content = changed_model(models, seed)
        path.write_bytes(content)
        tried(lambda name=name: use(path, rows[name], known[name]), seed, counts)  # type: ignore[misc]
    return counts


def try_configs(folder: Path, first: int, last: int) -> Counter[str]:
    """Try the configs of these seeds."""
    import torch

    from flowcli.config.presets import preset_names, preset_path

    torch.set_num_threads(1)
    texts = [*CONFIGS, *(preset_path(name).read_text() for name in preset_names())]
    path = folder / "changed.yaml"
    for text in texts:
        path.write_text(text)
        assert use_config(path) != "refused", text
    limit_memory()
    counts: Counter[str] = Counter()
    for seed in under_way(folder, first, last):
        path.write_bytes(changed_config(texts, seed))
        tried(lambda: use_config(path), seed, counts)
    return counts


@dataclass(frozen=True)
class Tried:
    """How the trials of some seeds ended: counts by how far a file came, and those that ended as none may."""

    counts: dict[str, int]
    wrong: list[str]


def try_all(what: str, folder: Path, first: int, last: int) -> Tried:
    """Try the files of these seeds, in a process that may die of one."""
    done = subprocess.run(
        [sys.executable, __file__, what, str(folder), str(first), str(last)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    lines = done.stdout.splitlines()
    if done.returncode:
        seed = (folder / "seed").read_text() if (folder / "seed").exists() else "none yet"
        told = f"the process ended with {done.returncode} at the seed {seed}: {done.stderr[-2000:]}"
        return Tried({}, [*lines, told])
    return Tried(json.loads(lines[-1])["counts"], lines[:-1])


if __name__ == "__main__":
    what, where, first, last = sys.argv[1:]
    started = time.process_time()
    found = {"models": try_models, "configs": try_configs}[what](Path(where), int(first), int(last))
    print(json.dumps({"counts": found, "seconds": time.process_time() - started}))
