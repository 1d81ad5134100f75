"""The one exception that a user's mistake raises; a bug raises anything else."""


class StepcellError(Exception):
    """A mistake in what the user gave: a file, a model, data, a target or a missing tool.

    `message` is one sentence: where, what was found, what is allowed.
    `hint` says what to do next. `problems` has one line for each node of a model that cannot be imported,
    where there may be several.
    """

    def __init__(self, message: str, hint: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = problems

    def __str__(self) -> str:
        return f"{self.message}\nHint: {self.hint}"
