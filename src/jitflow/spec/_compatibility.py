"""Write the page that says what becomes of each field of a manifest, from the table that the code uses.

python -m jitflow.spec._compatibility            # writes docs/reference/argo-compatibility.md
python -m jitflow.spec._compatibility --check    # exit 1 when the page is stale
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from jitflow.spec.support import FEATURES, Feature, Status

PAGE = Path("docs/reference/argo-compatibility.md")

_HEAD = """# What becomes of an Argo manifest here

This page is generated from the table that validation uses (`src/jitflow/spec/support.py`); `make generate` writes it again.
Fields are listed by the type of Argo's API description that they belong to. A field that is in none of these lists is refused:
nothing is ignored in silence, but for keys beside `apiVersion`, `kind`, `metadata`, `spec` and `status` in the body of an API
call, which Argo's server leaves out too. What is *ignored* is accepted and has no effect, for the reason given; what is
*refused* ends `lint` and `create` with the place of the field and the reason. Of Argo 3, `schedule`, `mutex` and `semaphore`
are read as lists of one, and the priorities of pods (`podPriority`, a template's `priority`) are left out.

Expressions are expr-lang with Argo's own functions and those of sprig; `when` is govaluate. Where they differ from the Go
libraries on purpose: an expression is bounded in length, depth, steps and the size of what it makes; regular expressions are
matched in linear time and know no back references; an empty list that `concat` makes is `[]`, not `null`; sprig functions
that read the environment, look up hosts, or make keys, passwords or random values are left out. a jq filter has
seconds and a gigabyte, and no modules.

Secrets and ConfigMaps, WorkflowTemplates, CronWorkflows, WorkflowEventBindings and PersistentVolumeClaims are kept by the
server itself: there is no Kubernetes behind it. A claim is a directory of the machine.
"""


def page() -> str:
    """Return the page."""
    return "\n".join((_HEAD, *_sections(), ""))


def _sections() -> Iterator[str]:
    kinds: dict[str, list[Feature]] = {}
    for feature in FEATURES:
        kinds.setdefault(feature.where.partition(".")[0], []).append(feature)
    for kind in sorted(kinds):
        yield f"## {kind}\n"
        supported = sorted(f"`{_field(feature)}`" for feature in kinds[kind] if feature.status is Status.SUPPORTED)
        if supported:
            yield f"Supported: {', '.join(supported)}\n"
        others = sorted((feature for feature in kinds[kind] if feature.status is not Status.SUPPORTED), key=lambda it: it.where)
        if others:
            yield "| field | | why |"
            yield "| --- | --- | --- |"
            for feature in others:
                what = "ignored" if feature.status is Status.IGNORED else "refused"
                some = " (some values)" if feature.applies is not None else ""
                yield f"| `{_field(feature)}`{some} | {what} | {feature.note.replace('|', chr(92) + '|')} |"
            yield ""


def _field(feature: Feature) -> str:
    return feature.where.partition(".")[2]


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the page is stale")
    arguments = parser.parse_args()
    text = page()
    if not arguments.check:
        PAGE.write_text(text)
        return 0
    if not PAGE.is_file() or PAGE.read_text() != text:
        print(f"{PAGE} is stale: run `make generate`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
