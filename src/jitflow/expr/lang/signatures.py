"""Names of the language's functions and how many arguments each takes: least and most (None: any number)."""

from typing import Final

PREDICATES: Final[dict[str, tuple[int, int]]] = {
    "all": (2, 2), "none": (2, 2), "any": (2, 2), "one": (2, 2), "filter": (2, 2), "map": (2, 2),
    "count": (1, 2), "sum": (1, 2), "find": (2, 2), "findIndex": (2, 2), "findLast": (2, 2), "findLastIndex": (2, 2),
    "groupBy": (2, 2), "sortBy": (2, 3), "reduce": (2, 3),
}  # fmt: skip
"""Functions whose second argument is evaluated for each element of the first."""

SIGNATURES: Final[dict[str, tuple[int, int | None]]] = {
    **PREDICATES,
    "len": (1, 1), "type": (1, 1), "abs": (1, 1), "ceil": (1, 1), "floor": (1, 1), "round": (1, 1),
    "int": (1, 1), "float": (1, 1), "string": (1, 1),
    "trim": (1, 2), "trimPrefix": (1, 2), "trimSuffix": (1, 2), "upper": (1, 1), "lower": (1, 1),
    "split": (2, 3), "splitAfter": (2, 3), "replace": (3, 4), "repeat": (2, 2), "join": (1, 2),
    "indexOf": (2, 2), "lastIndexOf": (2, 2), "hasPrefix": (2, 2), "hasSuffix": (2, 2),
    "max": (1, None), "min": (1, None), "mean": (1, None), "median": (1, None),
    "toJSON": (1, 1), "fromJSON": (1, 1), "toBase64": (1, 1), "fromBase64": (1, 1),
    "now": (0, 1), "duration": (1, 1), "date": (1, 4), "timezone": (1, 1),
    "first": (1, 1), "last": (1, 1), "get": (2, 2), "take": (2, 2), "keys": (1, 1), "values": (1, 1),
    "toPairs": (1, 1), "fromPairs": (1, 1), "reverse": (1, 1), "uniq": (1, 1), "concat": (1, None), "flatten": (1, 1),
    "sort": (1, 2),
    "bitand": (2, 2), "bitor": (2, 2), "bitxor": (2, 2), "bitnand": (2, 2), "bitnot": (1, 1),
    "bitshl": (2, 2), "bitshr": (2, 2), "bitushr": (2, 2),
}  # fmt: skip
"""All functions of the language."""
