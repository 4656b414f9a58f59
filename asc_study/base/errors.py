"""The one exception for bad input: rule, value received, remedy, in one line."""


class InputError(ValueError):
    """Input that breaks a rule of the platform.

    The message is a single line that states the rule, the value received and the remedy, for example
    ``time_mask_ratio must be in [0, 1), got 1.2: lower it``. The command line prints it without a traceback and exits
    with code 2.
    """


class TrainingFailure(RuntimeError):
    """A run that cannot go on (for example a loss that is not finite); its message becomes the run's failure reason."""
