"""Coverage-guided fuzzing of configs; see README.md."""

import random
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
with atheris.instrument_imports(include=["flowcli", "yaml"]):
    import hostile

    # What hostile imports only when it needs it.
    import flowcli.config.load
    import flowcli.flows.build  # noqa: F401

PLACE = Path(tempfile.mkdtemp()) / "config.yaml"


def change(content: bytes, most: int, seed: int) -> bytes:
    """libFuzzer's own changes, and those of texts and of values."""
    dice = random.Random(seed)
    if dice.random() < 0.7:
        try:
            changed = dice.choice([hostile.retyped, hostile.rebuilt])(content.decode(), dice)
            return changed if len(changed) <= most else content
        except Exception:
            pass  # it is no config any more
    return atheris.Mutate(content, most)


def try_one(content: bytes) -> None:
    PLACE.write_bytes(content)
    hostile.use_config(PLACE)


if __name__ == "__main__":
    warnings.simplefilter("error")
    atheris.Setup(sys.argv, try_one, custom_mutator=change)
    atheris.Fuzz()
