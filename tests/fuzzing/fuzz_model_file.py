"""Coverage-guided fuzzing of model files; see README.md."""

import random
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
with atheris.instrument_imports(include=["flowcli"]):
    import hostile

    # What hostile imports only when it needs it.
    import flowcli.cli.show
    import flowcli.model  # noqa: F401

PLACE = Path(tempfile.mkdtemp()) / "model.safetensors"
ROWS = hostile.table(",".join(hostile.ROWS), 1)


def change(content: bytes, most: int, seed: int) -> bytes:
    """libFuzzer's own changes, and those that keep the file a file of JSON and tensors."""
    dice = random.Random(seed)
    if dice.random() < 0.7:
        try:
            changed = hostile.with_checksum(dice.choice(hostile.MODEL_CHANGES)(content, dice))
            return changed if len(changed) <= most else content
        except Exception:
            pass  # it is no such file any more
    return atheris.Mutate(content, most)


def try_one(content: bytes) -> None:
    PLACE.write_bytes(content)
    hostile.use(PLACE, ROWS)


if __name__ == "__main__":
    warnings.simplefilter("error")
    atheris.Setup(sys.argv, try_one, custom_mutator=change)
    atheris.Fuzz()
