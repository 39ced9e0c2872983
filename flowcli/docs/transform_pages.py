"""What the page of transforms, bases and discrete models says, from the catalogue."""

from __future__ import annotations

from flowcli.cli.transforms import range_in_words, turns, type_in_words
from flowcli.config.distributions import BASES, LABEL_MODELS, ORDINAL_MODELS
from flowcli.docs.markdown import anchor, block, code, inline, table
from flowcli.docs.references import REFERENCES
from flowcli.transforms.catalogue import ENTRIES, Entry

# What flowcli has by itself; other packages may add more.
CATALOGUE = (*ENTRIES, *BASES, *LABEL_MODELS, *ORDINAL_MODELS)

_TITLES = {
    "transform": "Transforms",
    "base": "Base distributions",
    "labels": "Models of labels",
    "ordinals": "Models of ordinals",
}


def transforms() -> str:
    """The generated part of the page."""
    parts = []
    for part, title in _TITLES.items():
        entries = [entry for entry in CATALOGUE if entry.part == part]
        parts += [f"## {title}", _overview(entries), *map(_section, entries)]
    cited = [f"- {short}: {full}" for short, full in sorted(REFERENCES.items())]
    return "\n\n".join([*parts, "## References", "\n".join(cited)])


def _overview(entries: list[Entry]) -> str:
    rows = [
        (
            f"[`{entry.name}`](#{anchor(entry.name)})",
            entry.scoring_cost,
            entry.sampling_cost,
            "yes" if entry.takes_context else "no",
            entry.summary,
        )
        for entry in entries
    ]
    return table(("name", "scoring", "sampling", "context", "what it does"), rows)


def _section(entry: Entry) -> str:
    parts = [f"### {entry.name}", f"{entry.summary[0].upper()}{entry.summary[1:]}."]
    parts += [block("text", "\n".join(_mathematics(entry)))]
    parts += ["\n".join(f"- {fact}" for fact in _facts(entry))]
    if entry.parameters:
        rows = [
            (code(p.name), type_in_words(p), range_in_words(p).strip(" ()"), code(inline(p.default)), p.doc)
            for p in entry.parameters
        ]
        parts += [table(("parameter", "type", "range", "default", "meaning"), rows)]
    return "\n\n".join([*parts, block("yaml", snippet(entry))])


def _mathematics(entry: Entry) -> list[str]:
    """The formula, a line for each of its parts, and the log-determinant."""
    lines: list[str] = []
    brackets = 0
    for part in entry.formula.split("; "):
        if brackets:
            lines[-1] += f"; {part}"
        else:
            lines.append(part)
        brackets += part.count("(") - part.count(")")
    if entry.log_det.startswith("of f: "):
        return [*lines, f"log|det| of f = {entry.log_det.removeprefix('of f: ')}"]
    return [*lines, f"log|det| = {entry.log_det}"] if entry.log_det else lines


def _facts(entry: Entry) -> list[str]:
    turned = "; the other way round with `direction: sampling`" if entry.part == "transform" and turns(entry) else ""
    facts = [f"Cost: scoring {entry.scoring_cost}, sampling {entry.sampling_cost}{turned}."]
    facts += [f"Context: {'yes' if entry.takes_context else 'no'}."]
    if entry.part == "transform":
        facts += [f"At least {entry.min_features} columns."] if entry.min_features > 1 else []
        facts += ["Keeps the volume."] if entry.volume_preserving else []
        facts += [f"Starts {'at' if entry.starts_at_identity else 'away from'} the identity."]
    if entry.part in ("transform", "base"):
        holes = "left out" if entry.skips_absent else "none allowed: `--missing drop` or `impute`"
        facts += [f"Missing cells: {holes}."]
    if entry.transformer:
        facts += ["Can be the `transformer` of [`coupling`](#coupling) and [`autoregressive`](#autoregressive)."]
    return [*facts, f"Source: {entry.reference}."]


def snippet(entry: Entry) -> str:
    """A config with the entry, its parameters written out."""
    parameters = {p.name: p.default for p in entry.parameters}
    chosen = f"{entry.name}: {inline(parameters)}" if parameters else entry.name
    if entry.part == "transform":
        base = ["  base: uniform"] if entry.domain == "unit" else []
        return "\n".join(["flow:", *base, "  transforms:", f"    - {chosen}"])
    lines = ["flow:", f"  {entry.part}: {f'{{{chosen}}}' if parameters else chosen}"]
    if entry.part == "base":
        lines += [f"  transforms: [{'logit' if entry.domain == 'unit' else 'spline_autoregressive'}]"]
        # What depends on a context needs one.
        lines += ["data: {context: [y]}"] if entry.takes_context else []
    return "\n".join(lines)
