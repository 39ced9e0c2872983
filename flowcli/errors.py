"""What can go wrong, in the user's terms. Each error carries the exit status of the process."""

from __future__ import annotations

from flowcli.printable import printable

LONGEST_LINE = 2000
MOST_PROBLEMS = 20


class FlowcliError(Exception):
    """The data, the model or the machine said no (exit status 1).

    The message is one short sentence that names the file, row, column or key, and says what to do. What it quotes
    from a file may be anything: it is made printable here.
    """

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__("\n".join(printable(line, LONGEST_LINE) for line in message.split("\n")))


class UsageError(FlowcliError):
    """The command line is wrong (exit status 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """The config is wrong (exit status 2). ``problems`` holds one line for each mistake, of very many the first."""

    def __init__(self, problems: list[str]) -> None:
        shown = [printable(problem, LONGEST_LINE) for problem in problems[:MOST_PROBLEMS]]
        if len(problems) > MOST_PROBLEMS:
            shown.append(f"and {len(problems) - MOST_PROBLEMS:,} more mistakes")
        super().__init__("\n".join(shown))
        self.problems = shown


class Interrupted(FlowcliError):
    """The user, or the machine's keeper, asked to stop (exit status 130)."""

    exit_code = 130


class DataError(FlowcliError, ValueError):
    """The table cannot be read, or does not fit what was asked (exit status 1).

    A ``ValueError`` as well, which other libraries take for what is wrong with data.
    """


class ModelError(FlowcliError):
    """A model file is damaged, unknown, or cannot do what was asked (exit status 1)."""


class GateMissed(FlowcliError):
    """A figure is below what the user asks for (exit status 3)."""

    exit_code = 3


def first_line(error: BaseException) -> str:
    """What an error of another library says first, or else its name."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
