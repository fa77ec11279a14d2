"""PyYAML's parser without libyaml: the same events, slower."""

from yaml.parser import Parser as _EventParser
from yaml.reader import Reader
from yaml.scanner import Scanner


class Parser(Reader, Scanner, _EventParser):
    """Reads a text to events."""

    def __init__(self, text: str) -> None:
        """Start at the beginning of a text."""
        Reader.__init__(self, text)
        Scanner.__init__(self)
        _EventParser.__init__(self)
