"""The life of a run folder: fits into it that end, that are interrupted or killed, and what becomes of its files."""

import fcntl
import os
import shutil
import signal
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import pytest
from forking import ForkServer
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from safetensors.torch import load_file

RUN, OTHER = Path("runs/a"), Path("runs/z-older")
FILES = [
    "model.safetensors", "checkpoint.safetensors", "metrics.json", "config.yaml", "history.csv", "test_scores.csv",
    "README.md",
]  # fmt: skip
MODEL, CHECKPOINT, METRICS = FILES[:3]
EPOCHS = 4
FIT = ["fit", "t.csv", "-s", "flow.transforms=[triangular_affine]", "-s", f"train.epochs={EPOCHS}", "-q"]
# A checkpoint after each epoch, and a signal at the step of a fit that is to be interrupted.
BEFORE = """
import flowcli.training.trainer
flowcli.training.trainer.SECONDS_BETWEEN_CHECKPOINTS = 0
"""
SIGNAL_AT = """
import os, pathlib
steps = 0
def counted(function):
    def counting(self, *args, **options):
        global steps
        steps += 1
        if steps == {step} and not {after}:
            os.kill(os.getpid(), {number})
        done = function(self, *args, **options)
        if steps == {step} and {after}:
            os.kill(os.getpid(), {number})
        return done
    return counting
pathlib.Path.replace = counted(pathlib.Path.replace)
pathlib.Path.unlink = counted(pathlib.Path.unlink)
"""
# Files appear, and disappear, this often in a fit: a checkpoint an epoch and one at the end, and then the run's files.
STEPS = 2 * (EPOCHS + 1) + 6
SEEDS = st.sampled_from([1, 2])
SIGNALS = st.sampled_from([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
MOMENTS = st.one_of(
    st.tuples(st.integers(1, STEPS), st.booleans()),
    st.floats(0, 0.4).map(lambda seconds: (seconds,)),
)


class RunLife(RuleBasedStateMachine):
    """Steps in any order; what must hold is asked of the files that are there."""

    server: ForkServer
    # A table, and a run of each seed that nothing has interrupted.
    given: Path
    scores: dict[int, str]

    @initialize()
    def starts(self):
        self.folder = Path(tempfile.mkdtemp())
        self.run = self.folder / RUN
        shutil.copy(self.given / "t.csv", self.folder)
        shutil.copytree(self.given / "3", self.folder / OTHER)
        os.utime(self.folder / OTHER / METRICS, (0, 0))
        # What was damaged, and how it was left.
        self.damaged: dict[str, bytes] = {}
        self.checked: object = None
        self.killed = False

    def teardown(self):
        shutil.rmtree(self.folder)

    def flowcli(self, *args, **options):
        done = self.server.run(*args, cwd=self.folder, **options)
        assert "Traceback" not in done.err, done.err
        assert "unexpected" not in done.err, done.err
        assert len(done.err.splitlines()) == (1 if done.status > 0 else 0), done
        return done

    def files(self) -> dict[str, bytes]:
        if not self.run.is_dir():
            return {}
        found = {path.name: path.read_bytes() for path in self.run.iterdir()}
        left = [name for name in found if name.startswith(".")]
        assert self.killed or not left, left
        return {name: content for name, content in found.items() if name not in left}

    def is_damaged(self, name: str) -> bool:
        return name in self.damaged and self.files().get(name) == self.damaged[name]

    def is_finished(self) -> bool:
        return {MODEL, METRICS} <= self.files().keys()

    def seed(self, name: str) -> int:
        """The seed of the model or the checkpoint."""
        content = self.files()[name]
        return next(seed for seed in (1, 2, 3) if f'\\"seed\\":{seed}'.encode() in content)

    def is_whole(self, seed: int) -> None:
        """A fit into the folder has ended well."""
        self.killed = False
        assert self.files().keys() == set(FILES)
        self.damaged = {name: content for name, content in self.damaged.items() if self.is_damaged(name)}
        assert not self.damaged
        weights, expected = (load_file(folder / MODEL) for folder in (self.run, self.given / str(seed)))
        assert weights.keys() == expected.keys()
        assert all(bool((weights[name] == expected[name]).all()) for name in weights)

    @rule(seed=SEEDS, force=st.booleans())
    def fit(self, seed, force):
        taken = self.files()
        done = self.flowcli(*FIT, "--seed", seed, "-o", RUN, *(["--force"] if force else []), before=BEFORE)
        if taken and not force:
            assert (done.status, self.files()) == (2, taken)
            assert "--force" in done.err
        else:
            assert (done.status, done.out) == (0, f"{RUN}\n"), done.err
            self.is_whole(seed)

    def interrupted(self, args, number, moment):
        """A fit, with a signal at a moment of it; whether it went on to its end."""
        before = self.files()
        if len(moment) == 2:
            more = SIGNAL_AT.format(step=moment[0], after=moment[1], number=int(number))
            done = self.flowcli(*args, before=BEFORE + more)
        else:
            child = self.server.start(*args, cwd=self.folder, before=BEFORE)
            child.kill_after(moment[0], number)
            done = child.wait()
            assert "Traceback" not in done.err, done.err
        if done.status == -signal.SIGKILL:
            self.killed = True
        elif done.status == 130:
            left = self.files()
            # Before the training there is nothing to save.
            assert left == before or "flowcli fit --resume" in done.err or "interrupted\n" in done.err
            if "--resume" in done.err:
                assert CHECKPOINT in left
                assert METRICS not in left
        else:
            # By the signal itself: before the command began, or when it was done.
            assert done.status in (0, -number), done
        return done.status == 0

    @rule(seed=SEEDS, number=SIGNALS, moment=MOMENTS)
    def interrupted_fit(self, seed, number, moment):
        args = [*FIT[:-1], "-q", "--seed", seed, "-o", RUN, "--force"]
        if self.interrupted(args, number, moment):
            self.is_whole(seed)

    @rule()
    def resume(self):
        self.resumed(None, None)

    @rule(number=SIGNALS, moment=MOMENTS)
    def interrupted_resume(self, number, moment):
        self.resumed(number, moment)

    def resumed(self, number, moment):
        files, args = self.files(), ["fit", "--resume", RUN, "-q"]
        if self.is_finished() or CHECKPOINT not in files or self.is_damaged(CHECKPOINT):
            done = self.flowcli(*args, before=BEFORE)
            assert done.status == (2 if self.is_finished() or CHECKPOINT not in files else 1), done
            assert self.files() == files
            return
        seed = self.seed(CHECKPOINT)
        if number is not None:
            ended = self.interrupted(args, number, moment)
        else:
            done = self.flowcli(*args, before=BEFORE)
            assert (done.status, done.out) == (0, f"{RUN}\n"), done.err
            ended = True
        if ended:
            self.is_whole(seed)

    @rule()
    def a_second_fit(self):
        files = self.files()
        if not files:
            return
        folder = os.open(self.run, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        for args in ([*FIT, "-o", RUN, "--force"], ["fit", "--resume", RUN]):
            done = self.flowcli(*args)
            if "--resume" in args and (self.is_finished() or CHECKPOINT not in files or self.is_damaged(CHECKPOINT)):
                assert done.status in (1, 2)
            else:
                assert (done.status, done.err) == (1, f"flowcli: {RUN}: another fit is writing to it\n")
        os.close(folder)
        assert self.files() == files

    @rule(name=st.sampled_from(FILES))
    def a_file_is_deleted(self, name):
        (self.run / name).unlink(missing_ok=True)

    @rule(name=st.sampled_from(FILES), share=st.floats(0, 1, exclude_max=True))
    def a_file_is_cut(self, name, share):
        content = self.files().get(name, b"")
        self.damage(name, content[: int(share * len(content))])

    @rule(
        name=st.sampled_from([MODEL, CHECKPOINT]),
        share=st.floats(0, 1, exclude_max=True),
        bit=st.sampled_from([1 << k for k in range(8)]),
    )
    def a_byte_is_wrong(self, name, share, bit):
        content = bytearray(self.files().get(name, b""))
        place = int(share * len(content))
        content[place : place + 1] = bytes([content[place] ^ bit]) if content else b""
        self.damage(name, bytes(content))

    def damage(self, name, content):
        file = self.run / name
        if content != self.files().get(name, b""):
            # Its time stays, as on a disk that goes bad.
            status = file.stat()
            file.write_bytes(content)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
            self.damaged[name] = content

    @rule(command=st.sampled_from(["score", "sample", "show"]))
    def the_model_file_is_copied(self, command):
        if MODEL not in self.files() or self.is_damaged(MODEL):
            return
        shutil.copy(self.run / MODEL, self.folder / "copy.safetensors")
        args = {"score": ["t.csv", "-m"], "sample": ["--n", 3, "-m"], "show": []}[command]
        done = self.flowcli(command, *args, "copy.safetensors")
        assert done.status == 0
        if command == "score":
            assert done.out == self.scores[self.seed(MODEL)]

    @invariant()
    def the_newest_finished_run_scores_as_it_did(self):
        files = self.files()
        if files == self.checked:
            return
        self.checked = files
        done = self.flowcli("score", "t.csv")
        if not self.is_finished():
            assert done.out == self.scores[3]
            self.an_unfinished_run_is_none()
        elif self.is_damaged(MODEL):
            assert (done.status, done.out) == (1, "")
            assert str(RUN / MODEL) in done.err
        else:
            assert done.out == self.scores[self.seed(MODEL)]

    def an_unfinished_run_is_none(self):
        files = self.files()
        for args in (["score", "t.csv", "-m", RUN], ["show", RUN]):
            done = self.flowcli(*args)
            if CHECKPOINT not in files and MODEL in files:
                # As good as a model that was copied there.
                assert done.status == int(self.is_damaged(MODEL))
                continue
            assert (done.status, done.out) == (2, ""), done
            assert ("flowcli fit --resume" in done.err) == (CHECKPOINT in files and METRICS not in files)


@pytest.mark.long
def test_the_life_of_a_run(server, tmp_path, iris, monkeypatch):
    header, *rows = iris.read_text().splitlines()
    (tmp_path / "t.csv").write_text("\n".join([header, *rows[::3]]) + "\n")
    RunLife.server, RunLife.given, RunLife.scores = server, tmp_path, {}
    for seed in (1, 2, 3):
        done = server.run(*FIT, "--seed", seed, "-o", seed, cwd=tmp_path)
        assert done.status == 0, done.err
        RunLife.scores[seed] = server.run("score", "t.csv", "-m", seed, cwd=tmp_path).out
    assert len(set(RunLife.scores.values())) == 3
    run_state_machine_as_test(
        RunLife,
        settings=settings(
            max_examples=10,
            stateful_step_count=10,
            deadline=None,
            derandomize=True,
            # A smaller failing example would take minutes.
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
