"""A fit that is killed at any moment goes on to the model that it would have been."""

import time

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from flowcli.runs import is_complete

FIT = ["fit", "t.csv", "-q", "-s", "train.epochs=6", "-s", "data.plain=true"]
FIT += ["-s", "flow.transforms=[{affine_coupling: {hidden: [8]}}, permute, batchnorm]"]
MOMENTS = 20
# Checkpoints as often as a long run has them.
OFTEN = """
import flowcli.training.trainer as trainer
trainer.SECONDS_BETWEEN_CHECKPOINTS = trainer.SECONDS_BEFORE_A_BEST_ONE = 0.02
trainer.MOST_TIME_FOR_CHECKPOINTS = 1.0
"""


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=600)
    frame = pd.DataFrame({"x": x, "y": 0.5 * x**2 + random.normal(size=600), "kind": random.choice(["a", "b"], 600)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def outcome(run):
    """Weights, and what was told of each epoch and each test row, but for the times."""
    history = pd.read_csv(run / "history.csv").drop(columns="seconds")
    return load_file(run / "model.safetensors"), history, (run / "test_scores.csv").read_text()


def same(one, other):
    weights = one[0].keys() == other[0].keys() and all(bool((one[0][name] == other[0][name]).all()) for name in one[0])
    return weights and one[1].equals(other[1]) and one[2] == other[2]


@pytest.mark.long
def test_a_fit_killed_at_any_moment_goes_on_to_the_same_model(server, folder):
    started = time.monotonic()
    assert server.run(*FIT, "-o", "whole", cwd=folder, before=OFTEN).status == 0
    seconds = time.monotonic() - started
    whole, files = outcome(folder / "whole"), sorted(path.name for path in (folder / "whole").iterdir())
    resumed = 0
    for number, share in enumerate(np.random.default_rng(0).uniform(0, 1.05, MOMENTS)):
        run, moment, started = f"run{number}", share * seconds, time.monotonic()
        first = server.start(*FIT, "-o", run, cwd=folder, before=OFTEN)
        first.kill_after(moment)
        finished = first.wait().status == 0
        if finished:
            # The machine has become faster, or less busy.
            seconds = min(seconds, time.monotonic() - started)
        # One that is killed after its last file is a whole run.
        if not finished and not is_complete(folder / run):
            # Nothing takes it for a model.
            scored = server.run("score", "t.csv", "-m", run, "-q", cwd=folder)
            assert (scored.status, scored.out, len(scored.err.splitlines())) == (2, "", 1), scored.err
            again = [*FIT, "-o", run]
            if (folder / run / "checkpoint.safetensors").exists():
                again = ["fit", "--resume", run, "-q"]
                resumed += 1
                if number % 3 == 0:
                    # What goes on can be killed like what began.
                    second = server.start(*again, cwd=folder, before=OFTEN)
                    second.kill_after(moment / 4)
                    second.wait()
            done = server.run(*again, cwd=folder, before=OFTEN)
            if "is finished" not in done.err:
                assert (done.status, done.out, done.err) == (0, f"{run}\n", "")
        assert same(outcome(folder / run), whole), f"killed after {moment:.3f} s"
        assert sorted(path.name for path in (folder / run).iterdir()) == files
    assert resumed >= MOMENTS / 4
