"""The value of a `when`'s tree, with govaluate's types and complaints."""

import math

from jitflow.expr.durations import go_float
from jitflow.expr.powers import go_power
from jitflow.expr.regex import RegexError, compile_regex
from jitflow.expr.when._errors import failed
from jitflow.expr.when._parser import Binary, Condition, Expression, Items, Literal, Name, Unary

Value = float | bool | str | tuple["Value", ...] | None


def value_of(expression: Expression, text: str) -> Value:
    """Return the value of a tree; `text` is the expression as written, for messages.

    Raises:
        WhenError: an operator got a value it cannot use.
    """
    return _Evaluator(text).value(expression)


def show(value: Value) -> str:
    """Return a value as Go's `%v` prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + " ".join(show(item) for item in value) + "]"
    return value if isinstance(value, str) else go_float(value)


class _Evaluator:
    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, node: Expression) -> Value:
        """Return the value of a node."""
        match node:
            case Literal():
                return node.value
            case Name():
                raise failed(self._text, f"No parameter '{node.name.split('.')[0]}' found.", node.offset)
            case Unary():
                return self._unary(node)
            case Items():
                return tuple(self.value(item) for item in node.items)
            case Condition():
                return self._condition(node)
            case Binary():
                return self._spine(node)

    def _spine(self, node: Binary) -> Value:
        """Evaluate a chain of operators from the left without recursion: chains may be long, nesting may not."""
        chain = [node]
        while isinstance(chain[-1].left, Binary):
            chain.append(chain[-1].left)
        left = self.value(chain[-1].left)
        for link in reversed(chain):
            left = self._binary(link, left)
        return left

    def _unary(self, node: Unary) -> Value:
        value = self.value(node.operand)
        if node.operator == "!":
            if not isinstance(value, bool):
                raise self._misfit(value, f"prefix '{node.operator}'", "bool", node.offset)
            return not value
        number = self._number(value, f"prefix '{node.operator}'", node.offset)
        return -number if node.operator == "-" else float(~_whole(number))

    def _condition(self, node: Condition) -> Value:
        test = self.value(node.test)
        if not isinstance(test, bool):
            raise self._misfit(test, "ternary operator '?'", "bool", node.offset)
        if test:
            return self.value(node.then)
        return self.value(node.otherwise) if node.otherwise is not None else None

    def _binary(self, node: Binary, left: Value) -> Value:
        sign = node.operator
        if sign in {"&&", "||"}:
            return self._logical(node, left)
        if sign == "??":
            return self.value(node.right) if left is None else left
        right = self.value(node.right)
        if sign in {"==", "!="}:
            return _same(left, right) == (sign == "==")
        if sign in {"<", "<=", ">", ">="}:
            return self._ordered(node, left, right)
        if sign in {"=~", "!~"}:
            return self._matches(node, left, right) == (sign == "=~")
        if sign == "in":
            items = right if isinstance(right, tuple) else (right,)
            return any(_same(left, item) for item in items)
        if sign == "+" and (isinstance(left, str) or isinstance(right, str)):
            return show(left) + show(right)
        purpose = f"modifier '{sign}'"
        return _arithmetic(sign, self._number(left, purpose, node.offset), self._number(right, purpose, node.offset))

    def _logical(self, node: Binary, left: Value) -> bool:
        decides = node.operator == "||"
        if left is decides:
            return decides
        right = self.value(node.right)
        for side in (left, right):
            if not isinstance(side, bool):
                raise self._misfit(side, f"logical operator '{node.operator}'", "bool", node.offset)
        return right is True

    def _ordered(self, node: Binary, left: Value, right: Value) -> bool:
        if isinstance(left, str) and isinstance(right, str):
            order = (left > right) - (left < right)
        else:
            purpose = f"comparator '{node.operator}'"
            first = self._number(left, purpose, node.offset)
            second = self._number(right, purpose, node.offset)
            if math.isnan(first) or math.isnan(second):
                return False
            order = (first > second) - (first < second)
        return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[node.operator]

    def _matches(self, node: Binary, left: Value, right: Value) -> bool:
        for side in (left, right):
            if not isinstance(side, str):
                raise self._misfit(side, f"comparator '{node.operator}'", "string", node.offset)
        try:
            return compile_regex(str(right)).search(str(left))
        except RegexError as error:
            raise failed(self._text, f"error parsing regexp: {error}", node.offset) from error

    def _number(self, value: Value, purpose: str, offset: int) -> float:
        if isinstance(value, bool) or not isinstance(value, float):
            raise self._misfit(value, purpose, "number", offset)
        return value

    def _misfit(self, value: Value, purpose: str, wanted: str, offset: int) -> Exception:
        return failed(self._text, f"Value '{show(value)}' cannot be used with the {purpose}, it is not a {wanted}", offset)


def _same(left: Value, right: Value) -> bool:
    """Return whether two values are equal and of one type: `true` is not 1."""
    return type(left) is type(right) and left == right


def _whole(number: float) -> int:
    """Return a number as Go's int64, wrapping around."""
    if math.isnan(number) or math.isinf(number):
        return -(2**63)
    return (int(number) + 2**63) % 2**64 - 2**63


def _arithmetic(sign: str, left: float, right: float) -> float:
    """Return the result in float64, with Go's infinities instead of errors."""
    if sign in {"&", "|", "^", "<<", ">>"}:
        return _bitwise(sign, _whole(left), _whole(right))
    if sign in {"/", "%"} and right == 0:
        return math.nan if sign == "%" or left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    try:
        match sign:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right
            case "%":
                return math.fmod(left, right)
            case _:
                return go_power(float(left), float(right))
    except OverflowError:
        return math.inf
    except ValueError:
        return math.nan


def _bitwise(sign: str, left: int, right: int) -> float:
    match sign:
        case "&":
            result = left & right
        case "|":
            result = left | right
        case "^":
            result = left ^ right
        case "<<":
            result = left << right if 0 <= right < 64 else 0
        case _:
            result = left >> min(right, 63) if right >= 0 else 0
    return float(_whole(float(result)))
