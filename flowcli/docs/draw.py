"""Draw the pictures of ``plots.md`` by the commands that stand in it: ``python flowcli/docs/draw.py [FOLDER]``.

Run from the repository. The commands run in FOLDER, by default one that is thrown away; a run that is there already is
not fitted again. The pictures are written to ``flowcli/docs/plots``, with 256 colours so that they are small.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
COLOURS = 256


def draw(folder: Path) -> None:
    """Run the commands, and take the pictures over."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data").exists():
        (folder / "data").symlink_to(DOCS.parent.parent / "data")
    text = (DOCS / "plots.md").read_text(encoding="utf-8")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    for command in re.findall(r"^\$ (.+)$", text, re.MULTILINE):
        run = re.search(r"flowcli fit .* -o (\S+)", command)
        if "#" in command or (run and (folder / run[1] / "metrics.json").exists()):
            continue
        print(command, flush=True)
        forced = f"{command} --force" if " -o " in command else command
        subprocess.run(forced, shell=True, cwd=folder, check=True, env=environment)
    for name in re.findall(r"\(plots/(.+\.png)\)", text):
        with Image.open(folder / name) as picture:
            few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        few.save(DOCS / "plots" / name, optimize=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        draw(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            draw(Path(temporary))
