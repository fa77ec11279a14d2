"""What an image's name means on this machine."""

from collections.abc import Mapping

from jitflow.model.pods import PodImage
from jitflow.model.problems import Refused

ANY = "*"


class Images:
    """Maps image names to root file systems: exact name, then the name without its tag, then `*`, else the host's root."""

    def __init__(self, mapped: Mapping[str, PodImage]) -> None:
        """Hold the mapping of the settings."""
        self._mapped = dict(mapped)

    def find(self, name: str) -> tuple[PodImage, bool]:
        """Return the image, and whether the settings map it (False: it is the host's root for want of a mapping)."""
        for candidate in (name, _untagged(name), ANY):
            if candidate in self._mapped:
                return self._mapped[candidate], True
        return PodImage(name=name), False


def command_of(image: PodImage, mapped: bool, command: tuple[str, ...], args: tuple[str, ...]) -> tuple[str, ...]:
    """Return the argument vector as a container runtime does: the template's command and args, else the image's.

    Raises:
        Refused: the template names no command and the image's entrypoint is not known here.
    """
    if command:
        return command + args
    if image.entrypoint or (image.cmd and not args):
        return image.entrypoint + (args or image.cmd)
    known = "is mapped without an entrypoint" if mapped else "is not mapped"
    raise Refused(
        f"the entrypoint of the image {image.name!r} is not known: it {known}; write `command:` in the template, "
        f'or in the settings file [images."{image.name}"] entrypoint = ["/path/to/program"]'
    )


def _untagged(name: str) -> str:
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name
