"""Tables for the commands."""

import csv

import pytest


@pytest.fixture
def table(tmp_path):
    """Writes a table in the folder that is worked in; gives its name."""

    def write(rows, name="t.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
        return name

    return write


@pytest.fixture
def irises(iris):
    """The rows of iris as lists of cells, the header first."""
    with iris.open(newline="") as file:
        return list(csv.reader(file))
