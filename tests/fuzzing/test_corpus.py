"""What fuzzing came upon, tried again; see README.md."""

from pathlib import Path

import pytest
from hostile import ROWS, limits, table, use, use_config

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_a_file_that_fuzzing_came_upon(path: Path, tmp_path: Path) -> None:
    place = tmp_path / path.name
    place.write_bytes(path.read_bytes())
    with limits():
        if path.suffix == ".yaml":
            use_config(place)
        else:
            use(place, table(",".join(ROWS), 1))
