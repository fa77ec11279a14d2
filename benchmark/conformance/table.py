"""The table of expected ends, one row a manifest."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

FINAL = frozenset({"Succeeded", "Failed", "Error"})
Document = dict[str, Any]


class NotYaml(Exception):
    """A manifest that cannot be read as YAML."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row. `phases`: the ends that are right; `needs`: files to be registered first."""

    path: str
    phases: frozenset[str]
    features: frozenset[str]
    notes: str
    needs: tuple[str, ...] = ()
    emulate: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_support(self) -> bool:
        """Whether it is registered only."""
        return self.phases == {"-"}

    @property
    def is_rejected(self) -> bool:
        """Whether it must be refused."""
        return self.phases == {"Rejected"}

    @property
    def accepted(self) -> frozenset[str]:
        """The ends that are right for what is done here: a run that only serves to be stopped then fails."""
        return frozenset({"Failed"}) if self.is_target_of_stop else self.phases

    @property
    def is_target_of_stop(self) -> bool:
        """Whether it runs too long to wait for, and is stopped."""
        return "use as target of stop" in self.notes

    @property
    def is_random(self) -> bool:
        """Whether it ends one way or another by chance."""
        return len(self.phases) > 1 or "random" in self.notes

    @property
    def interactive(self) -> str:
        """What is done to the run, in the table's words."""
        found = re.search(r"interactive: *(.*)$", self.notes)
        return found[1] if found else ""

    @property
    def noted_s(self) -> float:
        """How long the table says that it takes; 0 when it says nothing."""
        found = re.search(r"(?:~|>=|runs) ?(\d+) s\b", self.notes)
        return float(found[1]) if found else 0.0


def read(table: Path) -> list[Row]:
    """Return the rows of a tab-separated table: path, phase, features, images, notes; the first line names the columns."""
    rows: list[Row] = []
    for line in table.read_text().splitlines()[1:]:
        cells = line.split("\t") + [""] * 5
        if not cells[0].strip():
            continue
        path, phase, features, _, notes = (cell.strip() for cell in cells[:5])
        emulate = re.search(r"emulate=([^;]*)", notes)
        rows.append(
            Row(
                path=path,
                phases=frozenset(phase.split("|")),
                features=frozenset(features.split(",")),
                notes=notes,
                needs=_needs(notes),
                emulate=frozenset(emulate[1].strip().split(",")) if emulate else frozenset(),
            )
        )
    return rows


def _needs(notes: str) -> tuple[str, ...]:
    found = re.search(r"needs: *([^;]*)", notes)
    return tuple(re.findall(r"[\w./-]+\.ya?ml", found[1])) if found else ()


def find(folder: Path, name: str) -> Path | None:
    """Return the file of that name wherever it lies below a folder; the shortest path if there are several."""
    if (folder / name).is_file():
        return folder / name
    found = [path for path in folder.rglob(Path(name).name) if path.is_file() and str(path).endswith("/" + name)]
    return min(found, key=lambda path: (len(path.parts), str(path)), default=None)


class _Loader(yaml.SafeLoader):
    """YAML as JSON sees it: times stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def documents(path: Path) -> list[Document]:
    """Return the documents of a file.

    Raises:
        NotYaml: it is none, or holds something else than mappings.
    """
    try:
        found = [document for document in yaml.load_all(path.read_text(), Loader=_Loader) if document is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise NotYaml(str(error)) from error
    if not found or not all(isinstance(document, dict) for document in found):
        raise NotYaml("not a mapping")
    return found
