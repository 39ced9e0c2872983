"""Scores, latents and samples by Ray's workers, on a cluster that all tests here share."""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from running import Ended, environment, run_program

pytest.importorskip("ray", reason="Ray is not installed: pip install 'flowcli[ray]'")

# Seconds; a busy machine starts workers slowly.
LONGEST = 400

CLUSTER = """
import sys
import ray
started = ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000
)
print(started.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""


@pytest.fixture(scope="module")
def cluster():
    """What the environment of its drivers has; processes of the cluster are known by its token."""
    own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        env=environment(**own),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        address = process.stdout.readline().strip()
        assert address, "Ray does not start"
        yield {**own, "RAY_ADDRESS": address}
        process.stdin.close()


def started(cluster, where, *args):
    """The real program, under way."""
    command = [sys.executable, "-m", "flowcli", *map(str, args)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=where, env=environment(**cluster), **streams)


def on_ray(cluster, where, *args):
    """How the real program ends that computes on Ray."""
    with started(cluster, where, *args, "--engine", "ray") as process:
        out, err = process.communicate(timeout=LONGEST)
    return Ended(process.returncode, out, err)


def workers(cluster):
    """The actors that are at work, by their process ids."""
    token, found = cluster["RAY_AUTH_TOKEN"].encode(), []
    at_work = re.compile(rb"ray::(MapBatches\(Worker\)|.*Worker\)\)\.submit)")  # as Ray 2.40 says it, and 2.60
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if place.name.isdigit() and at_work.match((place / "cmdline").read_bytes()):
                found += [int(place.name)] if token in (place / "environ").read_bytes() else []
    return found


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A model of two numbers, and a folder of numbered rows: Parquet of several pieces, and CSV."""
    where = tmp_path_factory.mktemp("ray")
    random = np.random.default_rng(0)
    rows = pd.DataFrame(random.normal(size=(700_000, 2)) @ [[1.0, 0.6], [0.0, 2.0]], columns=["x", "y"])
    rows.insert(0, "id", np.arange(len(rows)))
    (where / "big").mkdir()
    rows[:600_000].to_parquet(where / "big" / "a.parquet", row_group_size=100_000)
    rows[600_000:650_000].to_csv(where / "big" / "b.csv", index=False)
    rows[650_000:].to_csv(where / "big" / "c.csv.gz", index=False)
    rows[:2000].to_csv(where / "train.csv", index=False)
    fit = ["fit", "train.csv", "--drop", "id", "-c", "gaussian", "-s", "train.epochs=0", "-o", "run"]
    assert run_program(*fit, cwd=where).status == 0
    return where


def test_as_the_local_engine_though_a_worker_is_killed(cluster, numbers):
    local = run_program("score", "big", "-m", "run", "--keep", "id", "-o", "local/", cwd=numbers)
    assert local.status == 0, local.err
    command = ["score", "big", "-m", "run", "--keep", "id", "-o", "ray/", "--engine", "ray"]
    with started(cluster, numbers, *command) as process:
        killed = 0
        while process.poll() is None and not killed:
            for worker in workers(cluster)[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)
                    killed += 1
            time.sleep(0.01)
        out, err = process.communicate(timeout=LONGEST)
    assert (process.returncode, out, err) == (0, "", "")
    assert killed == 1
    ids = 0
    for name in "abc":
        mine, its = (pd.read_parquet(numbers / engine / f"{name}.parquet") for engine in ("ray", "local"))
        assert mine["id"].astype(int).tolist() == list(range(ids, ids + len(its)))
        np.testing.assert_allclose(mine["log_prob"], its["log_prob"], rtol=0, atol=1e-9)
        ids += len(its)
    assert ids == 700_000
    assert len(list((numbers / "ray").iterdir())) == 3


def test_a_bad_cell_is_told_once_and_leaves_nothing(cluster, numbers, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "bad" / "b.csv").write_text("x,y\n1,2\n3,oops\n")
    command = ["score", "bad", "-m", numbers / "run"]
    local = run_program(*command, cwd=tmp_path)
    done = on_ray(cluster, tmp_path, *command, "--threads", 1, "-o", "out/")
    assert (done.status, done.out, done.err) == (1, "", local.err)
    assert "bad/b.csv: row 2, column 'y'" in done.err
    assert [place.name for place in tmp_path.iterdir()] == ["bad"]


def test_latents_of_a_url_and_back(cluster, numbers, tmp_path):
    url = f"{(numbers / 'big').as_uri()}/b.csv"
    assert run_program("encode", url, "-m", numbers / "run", "-o", "z.parquet", cwd=tmp_path).status == 0
    done = on_ray(cluster, tmp_path, "encode", url, "-m", numbers / "run", "-o", "ray/", "-q")
    assert (done.status, done.out, done.err) == (0, "", "")
    one, other = pd.read_parquet(tmp_path / "z.parquet"), pd.read_parquet(tmp_path / "ray" / "b.parquet")
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=0, atol=1e-9)
    done = on_ray(cluster, tmp_path, "decode", "ray/", "-m", numbers / "run", "-o", "back/", "-q")
    assert (done.status, done.out, done.err) == (0, "", "")
    back = pd.read_parquet(tmp_path / "back" / "b.parquet")
    np.testing.assert_allclose(back[["x", "y"]], pd.read_csv(numbers / "big" / "b.csv")[["x", "y"]], rtol=0, atol=1e-9)


def test_samples_are_those_of_the_local_engine(cluster, numbers, tmp_path):
    command = ["sample", "--n", 10_000, "--seed", 5, "-m", numbers / "run"]
    assert run_program(*command, "-o", "local/", cwd=tmp_path).status == 0
    done = on_ray(cluster, tmp_path, *command, "-o", "ray/")
    assert (done.status, done.out, done.err) == (0, "", "")
    one, other = (pd.read_parquet(tmp_path / engine / "part-00000.parquet") for engine in ("local", "ray"))
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=0, atol=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("device", ["cuda", "auto", "cpu"])
def test_workers_with_a_gpu_each_or_without(cluster, numbers, tmp_path, device):
    score = ["score", numbers / "big", "-m", numbers / "run", "-q"]
    local = run_program(*score, "--device", "cpu", "-o", "local/", cwd=tmp_path)
    assert local.status == 0, local.err
    at_work = set()
    with started(cluster, tmp_path, *score, "--device", device, "-o", "ray/", "--engine", "ray") as process:
        while process.poll() is None:
            at_work |= {worker for worker in workers(cluster) if uses_a_gpu(worker)}
            time.sleep(0.01)
        out, err = process.communicate(timeout=LONGEST)
    assert (process.returncode, out, err) == (0, "", "")
    assert bool(at_work) == (device != "cpu")
    for name in "abc":
        mine, its = (pd.read_parquet(tmp_path / engine / f"{name}.parquet") for engine in ("ray", "local"))
        np.testing.assert_allclose(mine["log_prob"], its["log_prob"], rtol=0, atol=1e-9)


def uses_a_gpu(process):
    """Whether CUDA has begun in it."""
    with contextlib.suppress(OSError):
        return any(str(file.readlink()) == "/dev/nvidia-uvm" for file in Path(f"/proc/{process}/fd").iterdir())
    return False


def test_without_ray(numbers):
    without = "import sys; sys.modules['ray'] = None; from flowcli.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", without, "score", "train.csv", "-m", "run", "--engine", "ray", "-o", "out/"],
        cwd=numbers,
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "flowcli: --engine ray needs Ray, which is not installed: pip install 'flowcli[ray]'\n"
