"""What is said of bodies that have another form."""

from typing import Any, Literal

import msgspec
import pytest

from jitflow.app.forms import form_fault
from jitflow.model.jobs import JobPhase, JobWish

pytestmark = pytest.mark.pure


class Inner(msgspec.Struct):
    way: Literal["up", "down"] = "up"


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner = msgspec.field(default_factory=Inner)
    rows: "list[Strict]" = []


class Outer(msgspec.Struct):
    rows: list[Inner] = []
    table: dict[str, Inner | None] = {}
    phase: JobPhase | int = 0


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ('{"kind": "teleport", "source": "a:"}', JobWish, "`$.kind`; write check, copy, delete, move, sync"),
        ('{"source": "a:"}', JobWish, "Object missing required field `kind`"),
        ('{"rows": [{"way": "left"}]}', Outer, "`$.rows[0].way`; write down, up"),
        ('{"table": {"x": {"way": "left"}}}', Outer, "; write down, up"),
        ('{"phase": "Odd"}', Outer, "`$.phase`; write Queued, Running, Paused, Succeeded, Failed, Cancelled"),
        ('"left"', Literal["up", "down"], "'left'; write down, up"),
        ('{"way": "up"}', Strict, "unknown field `way`; write inner.way, rows"),
        ('{"rows": [{"x": 1}]}', Strict, "`$.rows[0]`; write inner.way, rows"),
        ('{"kind": "copy", "source": "a:", "exclude": []}', JobWish, "max_delete, hashes, namespace"),
        ("[1]", Outer, "Expected `object`, got `array`"),
    ],
)
def test_a_field_with_a_few_choices_says_which(body: str, kind: Any, says: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(body, type=kind)
    assert form_fault(error.value, kind).endswith(says)
