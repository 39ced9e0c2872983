"""Shell completion of transforms, presets and config keys, without heavy imports."""

import subprocess
import sys
from pathlib import Path

import pytest
from running import environment


def completed(words: str, tmp_path: Path) -> list[str]:
    program = Path(sys.executable).with_name("flowcli")
    asked = environment(_FLOWCLI_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1))
    done = subprocess.run([program], cwd=tmp_path, env=asked, capture_output=True, text=True, timeout=60)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("flowcli transforms spline_", ["spline_autoregressive", "spline_coupling"]),
        ("flowcli fit -c nsf", ["nsf_autoregressive", "nsf_coupling"]),
        ("flowcli config show real", ["realnvp", "realnvp_batchnorm"]),
        ("flowcli fit --set train.learn", ["train.learning_rate="]),
        ("flowcli enc", ["encode"]),
    ],
)
def test_completion(words, expected, tmp_path):
    assert completed(words, tmp_path) == expected
