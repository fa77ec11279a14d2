"""How a followed workflow is shown: a live tree in a terminal, plain lines elsewhere, or its logs."""

import threading
import time
from collections.abc import Sequence

from rich.console import Console
from rich.live import Live
from rich.text import Text

from jitflow.cli.changes import Changes, summary_line
from jitflow.cli.follow import Display, Moment
from jitflow.cli.tree import Span, foot_lines, head_lines, tree_lines
from jitflow.client import Client, ClientError

_SUMMARY_EVERY_S = 30.0
_LOG_END_S = 10.0


class TreeDisplay:
    """The live tree; never higher than the terminal."""

    def __init__(self, console: Console) -> None:
        """Take the terminal over, until `close`."""
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def show(self, moment: Moment, now: float) -> None:
        """Draw the tree anew."""
        self._live.update(rendered(moment, now, self._console.size.height, self._console.size.width), refresh=True)

    def close(self) -> None:
        """Leave the last picture on the screen."""
        self._live.stop()


class PlainDisplay:
    """One line for each change, and the overall progress now and then."""

    def __init__(self, console: Console) -> None:
        """Write to the console."""
        self._file = console.file
        self._changes = Changes()
        self._next = time.monotonic() + _SUMMARY_EVERY_S

    def show(self, moment: Moment, now: float) -> None:
        """Print what changed."""
        lines = self._changes.lines(moment.view, moment.data, now)
        if time.monotonic() >= self._next:
            lines.append(summary_line(moment.view, moment.data, now))
        if lines:
            self._next = time.monotonic() + _SUMMARY_EVERY_S
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Do nothing: everything is written."""


class QuietDisplay:
    """Shows nothing."""

    def show(self, moment: Moment, now: float) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class LogDisplay:
    """The logs of all steps as they come, each line behind its pod's name."""

    def __init__(self, client: Client, namespace: str, name: str, console: Console) -> None:
        """Start to read the logs."""
        self._file = console.file
        self._error = ""
        self._is_done = False
        self._thread = threading.Thread(target=self._read, args=(client.another(), namespace, name), daemon=True)
        self._thread.start()

    def _read(self, client: Client, namespace: str, name: str) -> None:
        with client:
            try:
                for entry in client.workflows.logs(name, namespace=namespace, follow=True):
                    self._file.write(f"{entry.pod_name}: {entry.content}\n")
                    self._file.flush()
            except ClientError as error:
                self._error = str(error)

    def show(self, moment: Moment, now: float) -> None:
        """Show nothing: the lines come by themselves."""
        self._is_done = moment.view.is_done

    def close(self) -> None:
        """Wait for the last lines, for a bounded time; while the workflow goes on there is no last one."""
        if self._is_done:
            self._thread.join(_LOG_END_S)
        if self._error:
            self._file.write(f"(the logs could not be read to their end: {self._error})\n")


def choose(client: Client, namespace: str, name: str, *, tree: bool = True, log: bool = False, err: bool = False) -> Display:
    """Return the display for this terminal and these wishes; `err`: write to stderr."""
    console = Console(stderr=err, highlight=False)
    if log:
        return LogDisplay(client, namespace, name, console)
    if tree and console.is_terminal and not console.is_dumb_terminal:
        return TreeDisplay(console)
    return PlainDisplay(console)


def rendered(moment: Moment, now: float, height: int, width: int) -> Text:
    """Return the whole picture of a moment, at most `height` - 1 lines."""
    head = head_lines(moment.view, now=now)
    foot = foot_lines(moment.view, moment.data, moment.fill)
    room = max(1, height - 1 - len(head) - len(foot))
    body = tree_lines(moment.view, moment.data, now=now, height=room, width=max(20, width - 1))
    return _text([*head, *body, *foot], width - 1)


def _text(lines: Sequence[Sequence[Span]], width: int) -> Text:
    picture = Text(no_wrap=True, overflow="ellipsis")
    for index, line in enumerate(lines):
        row = Text.assemble(*((text, style) for text, style in line))
        row.truncate(max(1, width), overflow="ellipsis")
        if index:
            picture.append("\n")
        picture.append_text(row)
    return picture
