# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false, reportMissingModuleSource=false
# The values of expressions are JSON of any shape.

"""Evaluating trees. Functions are looked up in the environment first, then among those of the language."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jitflow.expr import regex
from jitflow.expr.lang import tree
from jitflow.expr.lang.problems import Failure, LangError, UnknownName
from jitflow.expr.lang.tree import Node
from jitflow.expr.lang.values import Duration, Lazy, Moment, between, equal, is_number, printed, sized, type_name, whole

MAX_STEPS: Final = 1_000_000
"""Parts that may be evaluated in one go, loops included."""

Function = Callable[..., Any]
LAZY_ROOTS: Final = frozenset({"$env"})
_MISSING: Final = object()


class Frame:
    """What a predicate is about: the item, its index and, in `reduce`, what has been gathered."""

    __slots__ = ("acc", "index", "item")

    def __init__(self, item: Any, index: int, acc: Any = None) -> None:
        """Hold them."""
        self.item = item
        self.index = index
        self.acc = acc


class Evaluator:
    """Evaluates one tree in one environment."""

    def __init__(self, text: str, env: Mapping[str, Any], functions: Mapping[str, Function]) -> None:
        """Hold the text, for places; the environment; the functions of the language."""
        self._text = text
        self._env = env
        self._functions = functions
        self._names: dict[str, Any] = {}
        self._frames: list[Frame] = []
        self._steps = 0

    def value(self, node: Node) -> Any:
        """Return a tree's value.

        Raises:
            UnknownName: the environment lacks a name.
            LangError: it cannot be evaluated.
        """
        found = self._raw(node)
        return self._forced(found, node) if isinstance(found, Lazy) else found

    def _forced(self, found: Lazy, node: Node) -> Any:
        try:
            return found.value()
        except KeyError as error:
            raise UnknownName(str(error.args[0]), self._text, node.at) from None

    def fail(self, message: str, node: Node) -> LangError:
        """Return an error at a node."""
        return LangError(message, self._text, node.at)

    def _raw(self, node: Node) -> Any:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self.fail(f"the expression takes more than {MAX_STEPS} steps", node)
        try:
            return sized(self._evaluate(node))
        except Failure as error:
            raise self.fail(str(error), node) from None
        except (OverflowError, RecursionError, MemoryError) as error:
            raise self.fail(f"the expression cannot be evaluated: {type(error).__name__}", node) from None

    def _evaluate(self, node: Node) -> Any:  # noqa: C901 - one case for each kind of node
        match node:
            case tree.Literal():
                return node.value
            case tree.Name():
                return self._name(node)
            case tree.Member():
                return self._member(node)
            case tree.Call():
                return self._call(node)
            case tree.Binary():
                return self._binary(node)
            case tree.Unary():
                return _unary(node.operator, self.value(node.operand))
            case tree.Condition():
                return self._raw(node.yes) if self._bool(node.test) else self._raw(node.no)
            case tree.Pointer():
                frame = self._frames[-1]
                return {"": frame.item, "acc": frame.acc, "index": frame.index}[node.name]
            case tree.Slice():
                return self._slice(node)
            case tree.Array():
                return [self.value(item) for item in node.items]
            case tree.Map():
                return {self._key(key): self.value(value) for key, value in node.entries}
            case tree.Let():
                self._names[node.name] = self.value(node.value)
                try:
                    return self.value(node.body)
                finally:
                    del self._names[node.name]
            case _:
                raise Failure("a predicate has no place here")

    def _key(self, node: Node) -> str:
        key = self.value(node)
        if not isinstance(key, str):
            raise Failure(f"cannot use {type_name(key)} as a key of a map")
        return key

    def _bool(self, node: Node) -> bool:
        value = self.value(node)
        if not isinstance(value, bool):
            raise self.fail(f"cannot use {type_name(value)} as a bool", node)
        return value

    # -- names --------------------------------------------------------------------------------------------------------

    def _name(self, node: tree.Name) -> Any:
        if node.name in self._names:
            return self._names[node.name]
        if node.name in self._env:
            return self._env[node.name]
        if node.name == "$env":
            return dict(self._env)
        if node.name in self._functions:
            raise self.fail(f"the function {node.name} must be called", node)
        raise UnknownName(node.name, self._text, node.at)

    def _member(self, node: tree.Member) -> Any:
        base = self._raw(node.base)
        if isinstance(base, Lazy):
            key = self.value(node.key)
            if isinstance(key, str):
                try:
                    return base.member(key)
                except KeyError as error:
                    raise UnknownName(str(error.args[0]), self._text, node.at) from None
            base = self._forced(base, node.base)
        if base is None:
            if node.optional or _is_optional(node.base):
                return None
            key = self.value(node.key)
            raise Failure(f"cannot fetch {printed(key)} from <nil>")
        return _fetch(base, self.value(node.key))

    def _slice(self, node: tree.Slice) -> Any:
        base = self.value(node.base)
        if not isinstance(base, str | bytes | list | tuple):
            raise Failure(f"cannot slice {type_name(base)}")
        first = self._bound(node.first, 0, len(base))
        last = self._bound(node.last, len(base), len(base))
        return base[first : max(first, last)]

    def _bound(self, node: Node | None, default: int, size: int) -> int:
        if node is None:
            return default
        value = self.value(node)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.fail(f"cannot slice with {type_name(value)}", node)
        return max(0, min(size, value + size if value < 0 else value))

    # -- calls --------------------------------------------------------------------------------------------------------

    def _call(self, node: tree.Call) -> Any:
        if isinstance(node.function, tree.Name):
            name = node.function.name
            own = self._env.get(name)
            if callable(own):
                return _invoke(name, own, [self.value(argument) for argument in node.arguments])
            found = self._functions.get(name)
            if found is None:
                raise UnknownName(name, self._text, node.at)
            return self._apply(name, found, node)
        if isinstance(node.function, tree.Member):
            return self._method(node.function, node)
        raise Failure("this cannot be called")

    def _apply(self, name: str, function: Function, node: tree.Call) -> Any:
        arguments: list[Any] = []
        for argument in node.arguments:
            if isinstance(argument, tree.Predicate):
                arguments.append(self._predicate(argument.body))
            else:
                arguments.append(self.value(argument))
        return _invoke(name, function, arguments)

    def _method(self, member: tree.Member, node: tree.Call) -> Any:
        base = self._raw(member.base)
        if isinstance(base, Lazy):
            base = self._forced(base, member.base)
        key = self.value(member.key)
        arguments = [self.value(argument) for argument in node.arguments]
        if isinstance(base, Moment):
            return base.call(str(key), *arguments)
        if isinstance(base, Duration) and not arguments:
            return base.call(str(key))
        if isinstance(base, Mapping) and callable(base.get(key)):
            return _invoke(str(key), base[key], arguments)
        if base is None and member.optional:
            return None
        if isinstance(base, Mapping):
            raise UnknownName(str(key), self._text, node.at)
        raise Failure(f"{type_name(base)} has no method {key}")

    def _predicate(self, body: Node) -> Callable[..., Any]:
        def run(item: Any, index: int, acc: Any = None) -> Any:
            self._frames.append(Frame(item, index, acc))
            try:
                return self.value(body)
            finally:
                self._frames.pop()

        return run

    # -- operators ----------------------------------------------------------------------------------------------------

    def _binary(self, node: tree.Binary) -> Any:
        match node.operator:
            case "&&" | "and":
                return self._bool(node.left) and self._bool(node.right)
            case "||" | "or":
                return self._bool(node.left) or self._bool(node.right)
            case "??":
                return self._or_else(node)
            case _:
                return _operate(node.operator, self.value(node.left), self.value(node.right))

    def _or_else(self, node: tree.Binary) -> Any:
        left = self.value(node.left)
        return self.value(node.right) if left is None else left


def _invoke(name: str, function: Function, arguments: list[Any]) -> Any:
    """Call a function with whatever an expression gives it; what it cannot take becomes the expression's error."""
    try:
        return function(*arguments)
    except LangError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, OSError) as error:
        kinds = ", ".join(type_name(argument) for argument in arguments)
        raise Failure(f"{name} cannot be called with ({kinds}): {str(error)[:100]}") from None


def _is_optional(node: Node) -> bool:
    """Whether a chain holds a `?.`: then all of it is nil when that is."""
    while isinstance(node, tree.Member):
        if node.optional:
            return True
        node = node.base
    return False


def _fetch(base: Any, key: Any) -> Any:
    if isinstance(base, Mapping):
        return base.get(key if isinstance(key, str) else printed(key))
    if isinstance(base, list | tuple | str | bytes):
        if not isinstance(key, int) or isinstance(key, bool):
            raise Failure(f"cannot fetch {printed(key)} from {type_name(base)}")
        place = key + len(base) if key < 0 else key
        if not 0 <= place < len(base):
            raise Failure(f"index out of range: {key} (array length is {len(base)})")
        return base[place]
    if isinstance(base, Moment | Duration):
        raise Failure(f"the method {key} must be called")
    raise Failure(f"cannot fetch {printed(key)} from {type_name(base)}")


def _unary(operator: str, value: Any) -> Any:
    if operator in {"!", "not"}:
        if not isinstance(value, bool):
            raise Failure(f"invalid operation: {operator} (mismatched type {type_name(value)})")
        return not value
    if not is_number(value):
        raise Failure(f"invalid operation: {operator} (mismatched type {type_name(value)})")
    return value if operator == "+" else whole(-value) if isinstance(value, int) else -value


def _mismatch(operator: str, left: Any, right: Any) -> Failure:
    return Failure(f"invalid operation: {operator} (mismatched types {type_name(left)} and {type_name(right)})")


def _operate(operator: str, left: Any, right: Any) -> Any:
    match operator:
        case "==":
            return equal(left, right)
        case "!=":
            return not equal(left, right)
        case "<" | "<=" | ">" | ">=":
            return _compare(operator, left, right)
        case "in":
            return _within(left, right)
        case "matches" | "contains" | "startsWith" | "endsWith":
            return _text_test(operator, left, right)
        case "..":
            return _range(left, right)
        case _:
            return _arithmetic(operator, left, right)


def _ordered(operator: str, left: Any, right: Any) -> tuple[Any, Any]:
    """Return two values in a form that Python orders as Go does."""
    if isinstance(left, Moment) and isinstance(right, Moment):
        return left.at, right.at
    if isinstance(left, Duration) and isinstance(right, Duration):
        return left.ns, right.ns
    if is_number(left) and is_number(right):
        return left, right
    if isinstance(left, str) and isinstance(right, str):
        return left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass")
    raise _mismatch(operator, left, right)


def _compare(operator: str, one: Any, other: Any) -> bool:
    left, right = _ordered(operator, one, other)
    match operator:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case _:
            return left >= right


def _within(item: Any, place: Any) -> bool:
    if place is None:
        return False
    if isinstance(place, list | tuple):
        return any(equal(item, other) for other in place)
    if isinstance(place, Mapping):
        return isinstance(item, str) and item in place
    raise _mismatch("in", item, place)


def _text_test(operator: str, left: Any, right: Any) -> bool:
    if left is None or right is None:
        return False
    if not isinstance(left, str) or not isinstance(right, str):
        raise _mismatch(operator, left, right)
    match operator:
        case "contains":
            return right in left
        case "startsWith":
            return left.startswith(right)
        case "endsWith":
            return left.endswith(right)
        case _:
            try:
                return regex.compile_regex(right).search(left)
            except regex.RegexError as error:
                raise Failure(str(error)) from None


def _range(first: Any, last: Any) -> list[int]:
    if not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in (first, last)):
        raise _mismatch("..", first, last)
    if last - first >= 1_000_000:
        raise Failure("the range has more than 1000000 numbers")
    return list(range(first, last + 1))


def _arithmetic(operator: str, left: Any, right: Any) -> Any:
    numbers: tuple[Any, Any] = (left, right)
    if operator in {"+", "-"} and (isinstance(left, Moment | Duration) or isinstance(right, Moment | Duration)):
        return _time_arithmetic(operator, left, right)
    if operator == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, Duration) and is_number(right) and operator == "*":
        return Duration(int(left.ns * right))
    if not is_number(left) or not is_number(right):
        raise _mismatch(operator, left, right)
    return _numbers(operator, *numbers)


def _time_arithmetic(operator: str, left: Any, right: Any) -> Any:
    match left, right:
        case Moment(), Moment() if operator == "-":
            return between(left, right)
        case Moment(), Duration():
            return left.call("Add", Duration(right.ns if operator == "+" else -right.ns))
        case Duration(), Moment() if operator == "+":
            return right.call("Add", left)
        case Duration(), Duration():
            return Duration(left.ns + right.ns if operator == "+" else left.ns - right.ns)
        case _:
            raise _mismatch(operator, left, right)


def _numbers(operator: str, left: float, right: float) -> Any:
    both = isinstance(left, int) and isinstance(right, int)
    match operator:
        case "+" | "-" | "*":
            value = left + right if operator == "+" else left - right if operator == "-" else left * right
            return whole(int(value)) if both else float(value)
        case "/":
            if right == 0:
                return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left) * math.copysign(1.0, right)
            return left / right
        case "%":
            if not both:
                raise _mismatch(operator, left, right)
            if right == 0:
                raise Failure("integer divide by zero")
            return int(math.fmod(left, right)) if abs(left) < 2**53 and abs(right) < 2**53 else _remainder(int(left), int(right))
        case _:
            try:
                return math.pow(left, right)
            except OverflowError:
                return math.inf
            except ValueError:
                return math.nan


def _remainder(left: int, right: int) -> int:
    rest = abs(left) % abs(right)
    return -rest if left < 0 else rest


def names(node: Node) -> frozenset[str]:
    """Return the names that a tree refers to: `inputs.parameters.x`, as far as they are written out."""
    found: set[str] = set()
    _collect(node, found, ())
    return frozenset(found)


def _dotted(node: Node) -> str | None:
    parts: list[str] = []
    while isinstance(node, tree.Member):
        if not isinstance(node.key, tree.Literal) or not isinstance(node.key.value, str):
            return None
        parts.append(node.key.value)
        node = node.base
    if not isinstance(node, tree.Name):
        return None
    return ".".join((node.name, *reversed(parts)))


def _collect(node: Node, found: set[str], bound: Sequence[str]) -> None:  # noqa: C901 - one case for each kind of node
    match node:
        case tree.Name():
            if node.name not in bound:
                found.add(node.name)
        case tree.Member():
            dotted = _dotted(node)
            if dotted is not None:
                if dotted.partition(".")[0] not in bound:
                    found.add(dotted)
                return
            _collect(node.base, found, bound)
            _collect(node.key, found, bound)
        case tree.Call():
            if isinstance(node.function, tree.Member):
                _collect(node.function.base, found, bound)
            for argument in node.arguments:
                _collect(argument, found, bound)
        case tree.Let():
            _collect(node.value, found, bound)
            _collect(node.body, found, (*bound, node.name))
        case _:
            for child in _children(node):
                _collect(child, found, bound)


def _children(node: Node) -> list[Node]:
    match node:
        case tree.Unary():
            return [node.operand]
        case tree.Binary():
            return [node.left, node.right]
        case tree.Condition():
            return [node.test, node.yes, node.no]
        case tree.Slice():
            return [child for child in (node.base, node.first, node.last) if child is not None]
        case tree.Predicate():
            return [node.body]
        case tree.Array():
            return list(node.items)
        case tree.Map():
            return [part for entry in node.entries for part in entry]
        case _:
            return []
