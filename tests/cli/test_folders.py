"""Folders of tables in and out, and tables behind URLs."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pytest
from commands import COLUMNS, frame


@pytest.fixture
def folder(tmp_path, irises):
    """The rows of iris in three files of three kinds."""
    header, *rows = irises
    folder = tmp_path / "big"
    folder.mkdir()
    lines = [",".join(row) + "\n" for row in [header, *rows]]
    (folder / "a.csv").write_text("".join(lines[:51]))
    (folder / "b.csv.gz").write_bytes(gzip.compress("".join([lines[0], *lines[51:91]]).encode()))
    pd.DataFrame(rows[90:], columns=header).astype(dict.fromkeys(header[:4], float)).to_parquet(folder / "c.parquet")
    (folder / "_SUCCESS").write_text("")
    return folder


def test_a_table_for_each_of_a_folder(cli, iris, gaussian_run, folder):
    wanted = frame(cli("score", iris, "-m", gaussian_run).out)["log_prob"]
    assert cli("score", "big", "-m", gaussian_run, "-o", "scores/", "--keep", "species").status == 0
    parts = [pd.read_parquet(f"scores/{name}.parquet") for name in "abc"]
    assert [len(part) for part in parts] == [50, 40, 60]
    got = pd.concat(parts)
    assert got.columns.tolist() == ["species", "log_prob"]
    np.testing.assert_allclose(got["log_prob"], wanted, rtol=0, atol=1e-9)
    assert sorted(place.name for place in folder.parent.iterdir()) == ["big", "scores"]
    assert len(list((folder.parent / "scores").iterdir())) == 3


def test_other_formats_and_other_commands(cli, iris_run, folder):
    assert cli("encode", "big", "-m", iris_run, "-o", "latents/", "--format", "csv").status == 0
    assert cli("decode", "latents", "-m", iris_run, "-o", "back/").status == 0
    back, data = pd.read_parquet("back/a.parquet"), pd.read_csv("big/a.csv")
    assert back.columns.tolist() == COLUMNS
    np.testing.assert_allclose(back[COLUMNS[:4]], data[COLUMNS[:4]], atol=1e-3)
    assert cli("sample", "--n", 9, "--seed", 1, "-m", iris_run, "-o", "samples/").status == 0
    drawn = pd.read_parquet("samples/part-00000.parquet")
    pd.testing.assert_frame_equal(drawn, frame(cli("sample", "--n", 9, "--seed", 1, "-m", iris_run).out))


def test_a_folder_is_written_whole_or_not_at_all(cli, gaussian_run, folder):
    (folder / "b.csv").write_text((folder / "a.csv").read_text().replace("setosa", "tulip"))
    (folder / "d.csv").write_text((folder / "a.csv").read_text() + "5,4,oops,1,setosa\n")
    done = cli("score", "big/a.csv", "big/d.csv", "-m", gaussian_run, "-o", "scores/")
    assert done.status == 1
    assert done.err.count("\n") == 1
    assert "big/d.csv: row 51, column 'petal_length'" in done.err
    assert [place.name for place in folder.parent.iterdir()] == ["big"]


def test_force_replaces_tables(cli, tmp_path, gaussian_run, folder):
    assert cli("score", "big/a.csv", "-m", gaussian_run, "-o", "scores/").status == 0
    assert cli("score", "big/c.parquet", "-m", gaussian_run, "-o", "scores/").status == 2
    assert cli("score", "big/c.parquet", "-m", gaussian_run, "-o", "scores/", "--force").status == 0
    assert [place.name for place in (tmp_path / "scores").iterdir()] == ["c.parquet"]
    done = cli("score", "big/a.csv", "-m", gaussian_run, "-o", "big/", "--force")
    assert done.status == 2
    assert (folder / "a.csv").is_file()
    (folder / "_SUCCESS").unlink()
    done = cli("score", "big/a.csv", "-m", gaussian_run, "-o", "big/", "--force")
    assert (done.status, "holds DATA" in done.err) == (2, True)


def test_tables_behind_urls(cli, gaussian_run, folder):
    wanted = cli("score", "big", "-m", gaussian_run).out
    assert cli("score", folder.as_uri(), "-m", gaussian_run).out == wanted
    with zipfile.ZipFile("big.zip", "w") as archive:
        for place in folder.iterdir():
            archive.write(place, f"inner/{place.name}")
    url = f"zip://inner::{folder.parent.as_uri()}/big.zip"
    assert cli("score", url, "-m", gaussian_run).out == wanted
    assert cli("score", url, "-m", gaussian_run, "-o", "scores/").status == 0
    assert len(pd.read_parquet("scores/c.parquet")) == 60
    done = cli("score", f"{folder.as_uri()}/nowhere.csv", "-m", gaussian_run)
    assert (done.status, "nowhere.csv: no such file" in done.err) == (2, True)
