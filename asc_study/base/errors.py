"""The one exception for bad input: rule, value received, remedy, in one line."""

from typing import Final

#: Characters of a received value in an error line.
_LONGEST_VALUE: Final = 200

#: Characters of an error line: what names many things is cut in the middle, its remedy stays.
_LONGEST_LINE: Final = 1500


class InputError(ValueError):
    """Input that breaks a rule of the platform.

    The message is a single line that states the rule, the value received and the remedy, for example
    ``time_mask_ratio must be in [0, 1), got 1.2: lower it``. The command line prints it without a traceback and exits
    with code 2.
    """

    def __init__(self, message: str) -> None:
        if not message.isprintable():  # a value with a line break, or what a terminal would obey
            message = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in message)
        if len(message) > _LONGEST_LINE:
            message = f"{message[: _LONGEST_LINE - 500]} [...] {message[-490:]}"
        super().__init__(message)


class TrainingFailure(RuntimeError):
    """A run that cannot go on (for example a loss that is not finite); its message becomes the run's failure reason."""


def shown(value: object) -> str:
    """A received value as an error line shows it: its ``repr``, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def failure_reason(error: Exception) -> str:
    """Why a training failed, in one line."""
    reason = " ".join(str(error).split()) or "no reason given"
    return reason if isinstance(error, TrainingFailure | InputError) else f"{type(error).__name__}: {reason}"
