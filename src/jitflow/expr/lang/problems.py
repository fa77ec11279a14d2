"""What can be wrong with an expression."""


class LangError(ValueError):
    """An expression that cannot be read or evaluated. `offset` counts characters from 0; `line` and `column` from 1."""

    def __init__(self, message: str, text: str = "", offset: int = 0) -> None:
        """Hold the message and the place."""
        self.message = message
        self.offset = offset
        self.line = text.count("\n", 0, offset) + 1
        self.column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        super().__init__(f"{message} ({self.line}:{self.column})")


class UnknownName(LangError):
    """A name that the environment does not have. `name` is the whole reference, as `tasks.a.outputs.result`."""

    def __init__(self, name: str, text: str = "", offset: int = 0) -> None:
        """Hold the name."""
        self.name = name
        super().__init__(f"unknown name {name}", text, offset)


class Failure(Exception):
    """A fault found while evaluating, before its place is known; becomes a `LangError`."""
