"""Where in the text of an expression something stands."""


def spot(text: str, offset: int) -> str:
    """Return a place as `line:column`, both counted from 1; `offset` counts characters from 0."""
    return f"{text.count(chr(10), 0, offset) + 1}:{offset - text.rfind(chr(10), 0, offset)}"
