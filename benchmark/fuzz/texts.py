# ruff: noqa: E501 - tables of words
"""Odd texts in the small languages: tags, conditions, expressions, paths."""

from benchmark.fuzz.choices import Choices

_NAMES = (
    "inputs.parameters.m", "workflow.name", "workflow.status", "workflow.parameters.p", "item", "item.k", "tasks.a.outputs.result",
    "steps.s.outputs.parameters.o", "tasks.a.status", "steps.s.exitCode", "lastRetry.exitCode", "retries", "outputs.parameters.o.path",
    "inputs.artifacts.d.path", "workflow.creationTimestamp", "nothing.there", "pod.name", "steps['s'].outputs.result",
)  # fmt: skip
_ATOMS = (
    "1", "0", "2.5", "-1", "9223372036854775807", "true", "false", "nil", "'x'", '"y"', "`z`", "[1, 2, 3]", "{a: 1, 'b': [2]}", "x",
    "m", "m.a", "m['b']", "l[0]", "l[-1]", "s", "#", ".a", "asInt(s)", "sprig.upper(s)", "toJson(m)", "now()", "$env", "m?.q?.r",
)  # fmt: skip
_BINARY = (
    "+", "-", "*", "/", "%", "**", "^", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "and", "or", "in", "not in", "contains",
    "startsWith", "endsWith", "matches", "..", "??", "|", "=~",
)  # fmt: skip
_CALLS = (
    "len", "upper", "lower", "trim", "split", "join", "filter", "map", "all", "any", "count", "sum", "int", "float", "string", "keys",
    "values", "sort", "sortBy", "groupBy", "reduce", "first", "last", "take", "repeat", "replace", "fromJSON", "toJSON", "toBase64",
    "date", "duration", "flatten", "uniq", "concat", "jsonpath", "sprig.repeat", "sprig.regexMatch", "sprig.substr", "sprig.date",
)  # fmt: skip
_CONDITION = (
    "a", "b", "1", "2.0", "'q'", '"r"', "==", "!=", "<", ">=", "=~", "in", "(", ")", "&&", "||", "!", ",", "{{", "}}", "+", "%", "?",
    ":", "true", "false", " ", "\t", "[", "]", "\\", "é",
)  # fmt: skip
_PATHS = (
    "$", ".", "..", "a", "b", "[", "]", "0", "*", "?", "(", ")", "@", "==", "1", "'", '"', "{", "}", "|", "#", ":", ",", "length", "-",
    ".[]", "map(", "select(", "range(1;1000000)", "repeat(", "input", "env", "$ENV", "limit(", "until(", "recurse",
)  # fmt: skip


def expression(choices: Choices, depth: int = 5) -> str:
    """Return an expression, well formed more often than not."""
    if depth <= 0 or choices.is_over:
        return choices.one_of(_ATOMS)
    match choices.below(9):
        case 0 | 1:
            return choices.one_of(_ATOMS)
        case 2:
            return choices.one_of(_NAMES)
        case 3 | 4:
            return f"{expression(choices, depth - 1)} {choices.one_of(_BINARY)} {expression(choices, depth - 1)}"
        case 5:
            arguments = ", ".join(expression(choices, depth - 1) for _ in range(choices.below(4)))
            return f"{choices.one_of(_CALLS)}({arguments})"
        case 6:
            return f"({expression(choices, depth - 1)})"
        case 7:
            return " ".join(expression(choices, depth - 2) + end for end in (" ?", " :", ""))
        case _:
            return choices.text(6)


def snippet(choices: Choices) -> str:
    """Return text with tags in it."""
    parts: list[str] = []
    for _ in range(1 + choices.below(4)):
        match choices.below(5):
            case 0:
                parts.append(choices.text(4))
            case 1:
                parts.append("{{" + choices.one_of(_NAMES) + "}}")
            case 2:
                parts.append("{{=" + expression(choices, 3) + "}}")
            case 3:
                parts.append("{{inputs.parameters.{{" + choices.one_of(_NAMES) + "}}}}")
            case _:
                parts.append(choices.one_of(("{{", "}}", "{", "}", "\\", '"', "\n")))
    return "".join(parts)


def condition(choices: Choices) -> str:
    """Return something like a `when` or `depends`."""
    return " ".join(choices.one_of(_CONDITION) for _ in range(choices.below(12)))


def path(choices: Choices) -> str:
    """Return something like a JSONPath, a gjson path or a jq filter."""
    return "".join(choices.one_of(_PATHS) for _ in range(choices.below(10)))
