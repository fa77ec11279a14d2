"""Write the OpenAPI documents, or see whether they are up to date: `python -m jitflow.bootstrap._openapi [--check]`."""

import json
import sys
from pathlib import Path

from jitflow.control_api.describe import control_document
from jitflow.data_api.describe import data_document

FOLDER = Path(__file__).parents[3] / "docs" / "reference"


def main() -> int:
    """Run the command line; return its exit code."""
    for name, made in (("openapi-control.json", control_document()), ("openapi-data.json", data_document())):
        text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"docs/reference/{name} is stale: run `make generate`\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
