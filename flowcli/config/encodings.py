"""Names of text encodings."""

from __future__ import annotations


def check_encoding(name: str) -> str:
    """The name, if it is that of a text encoding.

    Raises:
        ValueError: it is not.
    """
    try:
        # Unlike codecs.lookup, this refuses codecs that are no text encodings (hex, rot13).
        "".encode(name)
    except (LookupError, ValueError):
        raise ValueError(
            f"unknown encoding {name!r}; Python's names are known, like utf-8, latin-1, cp1252 or utf-16"
        ) from None
    return name
