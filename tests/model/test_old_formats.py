"""Model files of every format version there has been stay readable, and score as they did.

``python tests/model/test_old_formats.py FOLDER`` writes the files of the current version: once for each, and not again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from flowcli.model import Model, program_engine
from flowcli.model_file import READABLE_VERSIONS, read_model_file
from flowcli.tables.frames import as_table

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("format_*/*.safetensors"))


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_there_are_files_of_each_version(version: str) -> None:
    # Since the third there are mixtures.
    assert len([file for file in FILES if file.parent.name == f"format_{version}"]) == (4 if version < "3" else 5)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_an_old_file(file: Path) -> None:
    model = Model.load(file, "cpu")
    rows = pd.read_csv(file.with_suffix(".csv"), dtype=str, keep_default_na=False)
    scores = model.log_prob(rows)
    # The processor may add up in another order.
    np.testing.assert_allclose(scores, rows["log_prob"].astype(float), atol=1e-9)
    assert np.isfinite(scores).all()
    programs = program_engine(read_model_file(file))
    assert (programs is None) == (file.parent.name == "format_1")
    if programs is not None:
        without_torch = programs.log_prob(model.encoder.encode(as_table(rows)))
        np.testing.assert_allclose(without_torch, scores, atol=1e-9)
    context = [column.name for column in model.encoder.context]
    assert len(model.sample(3, rows[context].head(1) if context else None, seed=0)) == 3
    known = rows.head(5)
    back = model.decode(model.encode(known))
    np.testing.assert_allclose(model.log_prob(back), scores[:5], atol=1e-6)


def write(folder: Path) -> None:
    sys.path.insert(0, str(HERE.parent))
    import hostile

    folder.mkdir()
    for name, content in hostile.real_models().items():
        file = folder / f"{name.replace(' ', '_')}.safetensors"
        file.write_bytes(content)
        rows = hostile.table(hostile.MODELS[name][0], 20)
        scores = Model.load(file, "cpu").log_prob(rows)
        rows.cells.to_pandas().assign(log_prob=scores).to_csv(file.with_suffix(".csv"), index=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
