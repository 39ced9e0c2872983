"""Rows that grow, in memory and on disk."""

import numpy as np
import pytest

import flowcli.preprocess.spool as spools
from flowcli.errors import FlowcliError
from flowcli.preprocess.spool import Spool


@pytest.mark.parametrize("most", [0, 10, 10_000])
@pytest.mark.parametrize("shape", [(), (3,), (0,)])
@pytest.mark.parametrize("kind", [np.float32, np.int64, np.bool_])
def test_what_was_added_is_there(monkeypatch, most, shape, kind):
    monkeypatch.setattr(spools, "MOST_ROWS_IN_MEMORY", most)
    random = np.random.default_rng(0)
    parts = [(100 * random.normal(size=(n, *shape))).astype(kind) for n in (0, 5, 100, 1, 0)]
    spool = Spool(shape, kind)
    for part in parts:
        spool.add(np.asfortranarray(part))
    np.testing.assert_array_equal(spool.array(), np.concatenate(parts))
    assert spool.array().dtype == kind if most == 10_000 else True


def test_none():
    assert Spool((2,), np.float64).array().shape == (0, 2)


def test_no_room_on_the_disk(monkeypatch):
    monkeypatch.setattr(spools, "MOST_ROWS_IN_MEMORY", 10)
    spool = Spool((2,), np.float64)
    spool.add(np.zeros((11, 2)))
    # A device that is always full.
    spool._file.close()
    spool._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
    with pytest.raises(FlowcliError, match="cannot be kept there: No space left on device"):
        spool.add(np.zeros((11, 2)))
    spool._file.close()
