"""The index of runs answers as if it looked at every row."""

import random

import pytest
from msgspec.structs import replace

from jitflow.app import index as index_module
from jitflow.app.index import RunIndex
from jitflow.engine.changes import Change
from jitflow.ports.store import RunRow

pytestmark = pytest.mark.pure

LABEL = "workflows.argoproj.io/workflow-template"


def newest_by_looking(rows: dict[str, RunRow], namespace: str, value: str) -> str:
    found = [
        row for row in rows.values() if row.namespace == namespace and row.labels.get(LABEL) == value and row.phase == "Succeeded"
    ]
    return max(found, key=lambda row: row.created_at).uid if found else ""


@pytest.mark.parametrize("seed", range(20))
def test_the_newest_success_is_the_one_that_a_look_at_all_rows_finds(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_MOST_KNOWN", 3)
    chance, index = random.Random(seed), RunIndex()
    rows: dict[str, RunRow] = {}

    def change(row: RunRow) -> None:
        rows[row.uid] = row = replace(row, version=row.version + 1, sequence=row.sequence + 1)
        index.hear(Change(kind="MODIFIED", row=row))

    for number in range(300):
        some = chance.choice(list(rows.values())) if rows else None
        match chance.choice(("new", "new", "phase", "label", "past", "gone")):
            case "new":
                labels = {LABEL: chance.choice("ab")} if chance.random() < 0.9 else {}
                change(
                    RunRow(
                        uid=str(number),
                        namespace=chance.choice("mn"),
                        name=f"w-{number}",
                        created_at=chance.random(),
                        labels=labels,
                    )
                )
            case "phase" if some is not None:
                change(replace(some, phase=chance.choice(("Running", "Succeeded", "Succeeded", "Failed"))))
            case "label" if some is not None:
                change(replace(some, labels={LABEL: chance.choice("ab")}))
            case "past" if some is not None:
                change(replace(some, live=False, archived=True))
            case "gone" if some is not None:
                del rows[some.uid]
                index.hear(Change(kind="DELETED", row=replace(some, archived=False)))
            case _:
                pass
        namespace, value = chance.choice("mn"), chance.choice("abc")
        found = index.newest_success(namespace, LABEL, value)
        assert (found.uid if found is not None else "") == newest_by_looking(rows, namespace, value)


def test_who_asks_again_for_the_newest_success_goes_through_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    index = RunIndex()
    index.fill([RunRow(uid=str(number), namespace="n", name=f"w-{number}", created_at=number) for number in range(9)])
    looked: list[str] = []
    through_all = index.all
    monkeypatch.setattr(index, "all", lambda namespace: looked.append(namespace) or through_all(namespace))
    assert index.newest_success("n", LABEL, "a") is None
    ended = RunRow(uid="x", namespace="n", name="x", created_at=10.0, phase="Succeeded", labels={LABEL: "a"}, version=1)
    assert index.newest_success("n", LABEL, "a") is None
    index.hear(Change(kind="MODIFIED", row=ended))
    assert index.newest_success("n", LABEL, "a") == ended
    past = replace(ended, live=False, archived=True, version=2)
    index.hear(Change(kind="MODIFIED", row=past))
    assert index.newest_success("n", LABEL, "a") == past
    assert looked == ["n"]
