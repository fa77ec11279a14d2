"""The one error of `when`."""


class WhenError(ValueError):
    """A `when` that cannot be evaluated. The message is Argo's; `offset` counts characters from the start of the text."""

    def __init__(self, message: str, *, offset: int) -> None:
        """Hold the message and the place."""
        self.offset = offset
        super().__init__(message)


def invalid(text: str, reason: str, offset: int) -> WhenError:
    """Return the error for a text that is not an expression."""
    hint = ' (hint: try wrapping the affected expression in quotes ("))' if "Invalid token" in reason else ""
    return WhenError(f"Invalid 'when' expression '{text}': {reason}{hint}", offset=offset)


def failed(text: str, reason: str, offset: int) -> WhenError:
    """Return the error for an expression whose values do not fit its operators. (The misspelling is Argo's.)"""
    return WhenError(f"Failed to evaluate 'when' expresion '{text}': {reason}", offset=offset)
