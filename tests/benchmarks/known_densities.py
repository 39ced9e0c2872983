"""How far each density family stays behind the truth, in nats, on densities in closed form; see README.md."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from fits import fit
from paired import Mean

FAMILIES = Path(__file__).with_suffix(".yaml")
# Of every family that does not say otherwise.
TRAIN = {"batch_size": 512, "learning_rate": 2e-3, "epochs": 80}
DENSITIES = ["moons", "circles", "rings", "pinwheel", "8gaussians", "checkerboard"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds NAME/train.csv, test.csv and test_true_log_prob.csv")
    parser.add_argument("--density", action="append", choices=DENSITIES, help="may be repeated; by default all")
    parser.add_argument("--family", action="append", help=f"a key of {FAMILIES.name}; may be repeated; by default all")
    parser.add_argument("--max-time", default="20s", help="of each fit, where the family sets none")
    parser.add_argument("--seed", default="0")
    options = parser.parse_args()
    if not options.folder.is_dir():
        sys.exit(f"{options.folder}: not there; these figures need its densities")
    families = yaml.safe_load(FAMILIES.read_text())
    densities = options.density or DENSITIES
    print(
        f"{platform.processor() or platform.machine()}, one thread, --max-time {options.max_time}, "
        f"seed {options.seed}\n"
    )
    print("| family | " + " | ".join(densities) + " | longest fit, s |")
    print("| --- |" + " --- |" * (len(densities) + 1))
    best: dict[str, tuple[float, str]] = {}
    for family in options.family or families:
        cells, seconds = [], 0.0
        for density in densities:
            gap, took = measure(options.folder / density, families[family], options.max_time, options.seed)
            cells.append(gap.text())
            seconds = max(seconds, took)
            best[density] = min(best.get(density, (np.inf, "")), (gap.value, family))
        print(f"| {family} | " + " | ".join(cells) + f" | {seconds:.0f} |", flush=True)
    print("| **smallest** | " + " | ".join(f"**{best[density][0]:.3f}**" for density in densities) + " | |")


def measure(folder: Path, config: dict, max_time: str, seed: str) -> tuple[Mean, float]:
    """The mean of true minus modelled log-density over the test rows, and the seconds that the fit tells."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "family.yaml"
        train = {**TRAIN, **config.get("train", {})}
        max_time = str(train.pop("max_time", max_time))
        file.write_text(yaml.safe_dump({**config, "train": train}))
        files = (folder / "train.csv", "--test", folder / "test.csv")
        found = fit(*files, "-c", file, "--max-time", max_time, "--seed", seed, threads=1)
    gap = Mean.of(np.loadtxt(folder / "test_true_log_prob.csv", skiprows=1) - found.scores)
    return gap, found.metrics["seconds"]


if __name__ == "__main__":
    main()
