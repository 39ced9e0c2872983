"""Which engine computes what: programs for small inputs, torch for large ones, the same numbers from both."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from flowcli.chunks import CHUNK
from flowcli.fitting import Fitted
from flowcli.model import Model, program_engine
from flowcli.model_file import read_model_file
from flowcli.programs.engine import MOST_STEPS, ProgramEngine

# Without torch: samples, how many of the rows come before torch is there, and from which function's size on it pays.
ALONE = """
import json, sys
from flowcli.chunks import CHUNK
from flowcli.model import Model
model = Model.load(sys.argv[1], light=True)
rows, before = 0, 0
for piece in model.sample_chunks(int(sys.argv[2]), seed=4, needed=int(sys.argv[3])):
    rows += piece.num_rows
    before = rows if "torch" not in sys.modules else before
    last = piece.slice(piece.num_rows - 1).to_pylist()
print(json.dumps([rows, before, last], default=str))
"""


def alone(file: Path, rows: int, needed: int) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(file), str(rows), str(needed)], capture_output=True, text=True, check=True
    )
    found: list[object] = json.loads(done.stdout)
    return found


def test_large_samples_are_torchs(fitted: Fitted, file: Path) -> None:
    programs = program_engine(read_model_file(file))
    assert isinstance(programs, ProgramEngine)
    Model.load(file)  # with every check, which is then not made again
    steps = int(programs.steps("sample", 1))
    most = MOST_STEPS // steps * programs.rows
    assert programs.pays("sample", most)
    assert not programs.pays("sample", most + programs.rows)
    # As many as are worth it, all without torch; more, all with it; where nobody knows how many, until it is worth it.
    rows = most // CHUNK * CHUNK
    assert alone(file, rows, rows)[:2] == [rows, rows]
    assert alone(file, rows + 2 * CHUNK, rows + 2 * CHUNK)[:2] == [rows + 2 * CHUNK, 0]
    _, before, last = alone(file, rows + 2 * CHUNK, 1)
    assert before == rows
    # The same rows, whoever draws them.
    drawn = fitted.model.sample(rows + 2 * CHUNK, seed=4)
    other = pd.DataFrame(last).iloc[0]
    for name, cell in drawn.iloc[-1].items():
        if isinstance(cell, float):
            np.testing.assert_allclose(other[name], cell, rtol=1e-9)
        else:
            assert str(other[name]) == str(cell)


def test_torch_is_used_where_it_is_there(file: Path) -> None:
    model = Model.load(file, light=True)
    assert "torch" in sys.modules
    assert model._programs is None


def test_operations_of_a_later_version_are_left_to_torch(file: Path) -> None:
    programs = program_engine(read_model_file(file))
    assert isinstance(programs, ProgramEngine)
    operations = programs.programs.functions["log_prob"]["operations"]
    operations[0] = ["fold_space", *operations[0][1:]]
    assert not programs.pays("log_prob", 1)
    assert programs.pays("encode", 1)


def test_the_engine_of_a_chunk_depends_on_its_place_alone(file: Path) -> None:
    model = Model.load(file)
    model._programs = program_engine(read_model_file(file))
    assert model._programs is not None
    small, large = 10, 10_000_000
    order = [small, large, small]
    assert [model._engine("log_prob", rows) is model._programs for rows in order] == [True, False, True]
