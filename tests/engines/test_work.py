"""Pieces of a job are as good as the whole of it."""

import pickle
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowcli.chunks import CHUNK
from flowcli.engines.work import OnTables, Piece, Sampling, Scoring
from flowcli.model import Model
from flowcli.tables.keep import KeptColumns
from flowcli.tables.read import read_table


@pytest.mark.parametrize("which", ["iris_run", "gaussian_run"])
def test_pieces_of_a_sample_are_the_sample(request, which):
    model = Model.load(request.getfixturevalue(which) / "model.safetensors", "cpu")
    n = 2 * CHUNK + 100
    whole = pa.concat_tables(model.sample_chunks(n, seed=7))
    job = pickle.loads(pickle.dumps(Sampling(n, None, 7, {})))
    assert [piece.rows for piece in job.pieces] == [(0, n)]
    cuts = [0, CHUNK, 2 * CHUNK, n]
    pieces = [Piece("part", rows) for rows in pairwise(cuts)]
    got = [done.cells for piece in reversed(pieces) for done in job.results(model, piece)]
    assert pa.concat_tables(reversed(got)).equals(whole)


def test_pieces_of_a_sample_given_rows(conditional_run, iris):
    model = Model.load(conditional_run / "model.safetensors", "cpu")
    given = read_table([str(iris)])
    whole = pa.concat_tables(model.sample_chunks(60, given, seed=3))
    job = Sampling(60, given, 3, {})
    pieces = [Piece("part", (0, CHUNK)), Piece("part", (CHUNK, 9000))]
    assert pa.concat_tables([done.cells for piece in pieces for done in job.results(model, piece)]).equals(whole)


def test_pieces_of_a_file_are_the_file(gaussian_run, iris, tmp_path):
    model = Model.load(gaussian_run / "model.safetensors", "cpu")
    table = read_table([str(iris)])
    pq.write_table(table.cells, tmp_path / "t.parquet", row_group_size=40)
    job = pickle.loads(pickle.dumps(OnTables(Scoring(KeptColumns(["species"])))))
    done = [
        each for rows in ((0, 80), (80, 150)) for each in job.results(model, Piece(str(tmp_path / "t.parquet"), rows))
    ]
    got = pa.concat_tables([each.cells for each in done])
    assert got["species"].to_pylist() == table.column("species").to_pylist()
    assert abs(got["log_prob"].to_numpy() - model.log_prob(table)).max() < 1e-9
