"""The process in which a jq filter runs: a filter may run without end and take any memory, so it gets a bound of both.

It reads `{"filter", "document"}` from its standard input and writes `{"results"}`, or `{"error"}`, to its standard output.
"""

import json
import resource
import sys
from itertools import islice

MAX_RESULTS = 10_000
MAX_TEXT_CHARS = 1024 * 1024
CPU_S = 2
MEMORY_BYTES = 1024**3


def main() -> None:
    """Do what is asked once."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = json.load(sys.stdin)
    json.dump(answer(asked["filter"], json.dumps(asked["document"])), sys.stdout)


def answer(expression: str, document: str) -> dict[str, object]:
    """Return what a filter gives for a document."""
    import jq  # noqa: PLC0415 - the limits hold for what it takes

    try:
        results = list(islice(iter(jq.compile(expression).input_text(document)), MAX_RESULTS + 1))
    except (ValueError, RecursionError, MemoryError) as error:
        return {"error": str(error) or type(error).__name__}
    if len(results) > MAX_RESULTS:
        return {"error": f"it gives more than {MAX_RESULTS} results"}
    texts = [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in results]
    if sum(len(text) for text in texts) > MAX_TEXT_CHARS:
        return {"error": f"it gives more than {MAX_TEXT_CHARS} characters"}
    return {"results": texts}


if __name__ == "__main__":
    main()
