"""A figure as the bytes of a file."""

from __future__ import annotations

import io
import warnings
from typing import Any

from matplotlib.figure import Figure

from flowcli.plots.style import DPI, styled

# Nothing of the day and the machine: the same picture is the same file.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
FORMATS = tuple(_METADATA)


def picture_bytes(figure: Figure, form: str, dpi: int = DPI) -> bytes:
    """The figure as ``png``, ``svg`` or ``pdf``; of dots, ``dpi`` to the inch."""
    stream = io.BytesIO()
    with styled(), warnings.catch_warnings():
        # A name in letters that the font has not is drawn with boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(stream, format=form, dpi=dpi, metadata=_METADATA[form])
    return stream.getvalue()
