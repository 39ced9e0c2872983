"""What one process costs here, for scale.py: steps, scores and rows; and the simulation beside what several take."""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from step_model import Network, Step, step_seconds

COLUMNS = 10


def _splines(width: int) -> dict[str, Any]:
    return {"transforms": [{"spline_autoregressive": {"hidden": [width, width]}}, "triangular_affine"]}


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "affine, 5 x [64, 64]": {
        "repeat": 5,
        "transforms": [{"affine_autoregressive": {"hidden": [64, 64]}}, {"permute": {"order": "reverse"}}],
    },
    "spline, 3 x [64, 64]": {**_splines(64), "repeat": 3},
    "spline, 3 x [512, 512]": {**_splines(512), "repeat": 3},
}
# As many_processes.py has them.
VALIDATED = {width: {**_splines(width), "repeat": 3} for width in (64, 256, 512)}
SIZES = {"cpu": (64, 512, 4096), "cuda": (512, 4096, 32768, 131072)}
USUAL = {"cpu": 4096, "cuda": 32768}
STEPS, LONGEST = 60, 15.0
ROWS_READ = 400_000


def measure(device: str) -> dict[str, Any]:
    """Steps and scoring of each architecture on one core, or one GPU."""
    found: dict[str, Any] = {"machine": _machine(device), "architectures": {}}
    for name, flow in ARCHITECTURES.items():
        costs = costs_of(flow, device, SIZES[device])
        if device == "cuda" or shutil.which("c++"):
            costs["compiled"] = steps_of(flow, device, SIZES[device], compiled=True)
        found["architectures"][name] = costs
        print(f"{device}: {name}: {json.dumps(costs)}", file=sys.stderr, flush=True)
    return found


def costs_of(flow: dict[str, Any], device: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Seconds of steps by their rows, of noise and of scoring a row, the parameters, and what busy cores cost."""
    import torch

    from flowcli.training.measuring import mean_log_likelihoods

    density, rows = _density(flow, device, USUAL[device])
    costs: dict[str, Any] = {
        "parameters": sum(each.numel() for each in density.parameters()),
        "plain": steps_of(flow, device, sizes, compiled=False),
    }
    draw = _timed(lambda: torch.randn(USUAL[device], COLUMNS).to(device), device)
    costs["noise_per_row"] = draw / USUAL[device]
    costs["validation_per_row"] = _timed(lambda: mean_log_likelihoods(density, rows), device) / len(rows)
    double, some = density.double(), rows.slice(0, 4096)
    some = type(rows)(some.numbers.double(), some.labels, some.ordinals, some.context)

    @torch.inference_mode()
    def score() -> None:
        double.log_prob(some)

    costs["scoring_per_row"] = _timed(score, device) / len(some)
    costs["crowding"] = 1.0
    if device == "cpu" and (cores := len(os.sched_getaffinity(0))) > 1:
        rows_of_all = sizes[len(sizes) // 2]
        alone = steps_of(flow, device, [rows_of_all], compiled=False)["seconds"][0]
        with _others(flow, cores - 1):
            costs["crowding"] = steps_of(flow, device, [rows_of_all], compiled=False)["seconds"][0] / alone
    return costs


def steps_of(flow: dict[str, Any], device: str, sizes: Sequence[int], compiled: bool) -> dict[str, Any]:
    """Seconds that steps take at best, by their rows, and their delay: how much longer they take in the mean."""
    found: dict[str, Any] = {"rows": list(sizes), "seconds": [], "delay": 0.0}
    delays = []
    for size in sizes:
        steps = np.array(_steps(flow, device, size, compiled))
        best = float(np.quantile(steps, 0.1))
        found["seconds"].append(best)
        delays.append(float(steps.mean()) / best - 1)
    found["delay"] = statistics.median(delays)
    return found


def _steps(flow: dict[str, Any], device: str, size: int, compiled: bool) -> list[float]:
    """Seconds of each step of flowcli's training, the first ones left out."""
    from flowcli.config.schema import TrainConfig
    from flowcli.training import trainer
    from flowcli.training.trainer import Training

    # One of several processes captures no CUDA graphs.
    trainer.can_be_graphed = lambda *_: False
    density, rows = _density(flow, device, size * (STEPS + 8))
    config = TrainConfig(batch_size=size, epochs=1, warmup=0)
    config = config.model_copy(update={"compile": "always" if compiled else "never"})
    training = Training(density, rows, rows.slice(0, 0), config, 0)
    assert training.optimizer is not None
    step, times = training.optimizer.step, []

    def timed(learning_rate: float) -> None:
        step(learning_rate)
        _synchronize(device)
        times.append(time.perf_counter())
        if len(times) > 15 and times[-1] - times[5] > LONGEST:
            training.stop()

    training.optimizer.step = timed  # type: ignore[method-assign]
    training.run()
    return np.diff(times[5:]).tolist()


def _density(flow: dict[str, Any], device: str, count: int) -> tuple[Any, Any]:
    """A density that is about to be trained, and rows for it."""
    import torch

    from flowcli.config.schema import FlowConfig
    from flowcli.flows.build import build_density
    from flowcli.flows.layout import Layout
    from flowcli.flows.rows import Rows

    numbers = torch.randn(count, COLUMNS, generator=torch.Generator().manual_seed(0))
    numbers = torch.tanh(numbers @ torch.randn(COLUMNS, COLUMNS, generator=torch.Generator().manual_seed(1)))
    none = torch.empty(count, 0)
    rows = Rows(numbers, none.long(), none, none).to(torch.device(device))
    density = build_density(FlowConfig.model_validate(flow), Layout(tuple(f"x{k}" for k in range(COLUMNS))), 0)
    density = density.to(device)
    density.initialize(rows.slice(0, 10_000))
    return density, rows


def _timed(call: Any, device: str) -> float:
    """The median of some calls, in seconds."""
    call()
    seconds = []
    started = time.perf_counter()
    while len(seconds) < 5 or (time.perf_counter() - started < 1 and len(seconds) < 50):
        before = time.perf_counter()
        call()
        _synchronize(device)
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds)


def _synchronize(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


@contextmanager
def _others(flow: dict[str, Any], count: int) -> Iterator[None]:
    """So many other processes that train meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    ready = [spawn.Event() for _ in range(count)]
    processes = [spawn.Process(target=_train_on, args=(flow, each), daemon=True) for each in ready]
    for process in processes:
        process.start()
    for each in ready:
        each.wait()
    try:
        yield
    finally:
        for process in processes:
            process.kill()


def _train_on(flow: dict[str, Any], ready: Any) -> None:
    import torch

    torch.set_num_threads(1)
    _steps(flow, "cpu", 64, compiled=False)
    ready.set()
    while True:
        _steps(flow, "cpu", 512, compiled=False)


def _machine(device: str) -> dict[str, Any]:
    import torch

    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def measure_data() -> dict[str, Any]:
    """Bytes of a row in files and while it is trained with, and the seconds to read one, twice, as a fit does."""
    import pandas as pd

    from flowcli.config.load import load_config
    from flowcli.preparing import prepare, survey_for
    from flowcli.tables.source import InFiles

    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(0)
        frame = pd.DataFrame(random.normal(size=(ROWS_READ, COLUMNS)), columns=[f"x{k}" for k in range(COLUMNS)])
        found: dict[str, Any] = {}
        for name, write in (("csv", lambda p: frame.to_csv(p, index=False)), ("parquet", frame.to_parquet)):
            place = Path(folder) / f"t.{name}"
            write(place)
            found[f"{name}_bytes"] = place.stat().st_size / ROWS_READ
            config = load_config("nsf_autoregressive")
            source = InFiles([str(place)], config.data.encoding)
            before = time.perf_counter()
            prepared = prepare(source, survey_for(source, config), config, lambda text: None, lambda *facts: None)
            found[f"{name}_reading"] = (time.perf_counter() - before) / ROWS_READ
            source.close()
        found["training_bytes"] = prepared.training.numbers.element_size() * COLUMNS
        found["held_out_bytes"] = prepared.test.numbers.itemsize * COLUMNS
        fit = [sys.executable, "-c", "import flowcli.model, flowcli.training.trainer"]
        found["start"] = min(_seconds(fit) for _ in range(3))
    return found


def _seconds(command: list[str]) -> float:
    before = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - before


def step_of(costs: dict[str, Any], steps: dict[str, Any]) -> tuple[Step, float]:
    """The step of an architecture, and its delay."""
    noise = costs["noise_per_row"]
    # The steps that were measured drew noise for their own rows alone.
    seconds = [each - noise * rows for each, rows in zip(steps["seconds"], steps["rows"], strict=True)]
    return Step(steps["rows"], seconds, noise, 4.0 * costs["parameters"]), steps["delay"]


def validate(widths: Sequence[int]) -> list[dict[str, Any]]:
    """Rows in a second of training on one process and on two, measured by many_processes.py and simulated."""
    import many_processes
    import pandas as pd

    batch, rows = 4096, 20_000
    network = Network(*loopback())
    given = argparse.Namespace(batch=batch, rows=rows)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        numbers = np.random.default_rng(0).normal(size=(rows, COLUMNS))
        mixing = np.random.default_rng(1).normal(size=(COLUMNS, COLUMNS))
        pd.DataFrame(np.tanh(numbers @ mixing), columns=[f"x{k}" for k in range(COLUMNS)]).to_csv(table, index=False)
        for width in widths:
            costs = costs_of(VALIDATED[width], "cpu", (batch // 4, batch // 2, batch))
            for count in (1, 2):
                # An epoch: its steps, and each process's part of the validation rows.
                slower = costs["crowding"] if count > 1 else 1.0
                step, delay = step_of(costs, costs["plain"])
                steps = math.ceil(0.8 * rows / batch)
                a_step = step_seconds(step.slower(slower), network, round(0.8 * rows / steps), count, delay)
                validation = 0.1 * rows / count * costs["validation_per_row"] * slower
                predicted = 0.8 * rows / (steps * a_step + validation)
                runs = [
                    many_processes.rows_per_second(table, Path(folder) / f"{width}-{count}-{k}", width, count, given)
                    for k in range(3)
                ]
                found.append(
                    {
                        "hidden": width,
                        "processes": count,
                        "measured": statistics.median(runs),
                        "predicted": predicted,
                        "gradient": step.gradient,
                    }
                )
                print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def loopback() -> tuple[float, float]:
    """Bytes in a second and latency of Gloo between two processes here, from a small and a large message."""
    with tempfile.TemporaryDirectory() as folder:
        spawn = multiprocessing.get_context("spawn")
        results = spawn.Queue()
        processes = [spawn.Process(target=_all_reduce, args=(rank, folder, results)) for rank in (0, 1)]
        for process in processes:
            process.start()
        small, large = results.get()
        for process in processes:
            process.join()
    # Two processes send two messages, of half of it each.
    return LARGE / (large - small), small / 2


SMALL, LARGE = 64, 16 << 20


def _all_reduce(rank: int, folder: str, results: Any) -> None:
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    seconds = []
    for size in (SMALL, LARGE):
        numbers = torch.ones(size // 4)
        times = []
        for _ in range(30):
            distributed.barrier()
            before = time.perf_counter()
            distributed.all_reduce(numbers)
            times.append(time.perf_counter() - before)
        seconds.append(statistics.median(times[5:]))
    if rank == 0:
        results.put(tuple(seconds))
    distributed.barrier()
