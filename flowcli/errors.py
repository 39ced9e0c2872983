"""What can go wrong, in the user's terms. Each error carries the exit status of the process."""

from __future__ import annotations


class FlowcliError(Exception):
    """The data, the model or the machine said no (exit status 1).

    The message is one short sentence that names the file, row, column or key, and says what to do.
    """

    exit_code = 1


class UsageError(FlowcliError):
    """The command line is wrong (exit status 2)."""

    exit_code = 2


class ConfigError(UsageError):
    """The config is wrong (exit status 2). ``problems`` holds one line for each mistake."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Interrupted(FlowcliError):
    """The user, or the machine's keeper, asked to stop (exit status 130)."""

    exit_code = 130


class DataError(FlowcliError):
    """The table cannot be read, or does not fit what was asked (exit status 1)."""


class ModelError(FlowcliError):
    """A model file is damaged, unknown, or cannot do what was asked (exit status 1)."""
