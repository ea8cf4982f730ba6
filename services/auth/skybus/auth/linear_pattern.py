"""Regular expressions from outside, tried in time that is linear in the length of a name.

Python's own parser reads an expression, as it does for the reference, and Python's own engine says which characters
each of its character classes fits. RE2 gets what is left: sequences, choices and repetitions of sets of characters. So
an expression means what it means to Python. What RE2 cannot do is refused by name; but lookaheads at the beginning, as
in `^(?!det)`, are expressions of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from re import _constants as sre  # pyright: ignore[reportAttributeAccessIssue]
from re import _parser as sre_parser  # pyright: ignore[reportAttributeAccessIssue]
from typing import Any, TypeAlias

import re2

LONGEST = 1000
"""Characters of an expression."""
MEMORY = 64 << 10
"""Bytes that RE2 may use for one expression."""
_MOST_LOOKAHEADS = 8
_MOST_BEYOND_ASCII = 64
"""Different characters beyond ASCII in one expression."""

_ASCII = "".join(map(chr, range(128)))
_OTHER_CASES = "\u0130\u0131\u017f\u212a"
"""Python takes these for an i, s or k when it ignores case."""
_STAND_INS = ("\u05d0\u3042\uac00", "\u0660\u0966\u0e50", "\u2003\u3000\u1680", "\u20ac\u2190\u2500")
"""A letter, a digit, a space, another character: one of each stands for all that an expression does not mention."""

_TOO_LARGE = "it counts or contains more than is supported here: use '*' or '+', smaller numbers, or several lines"
_CASES_AS_LINES = "write the cases as lines of their own"
_REFUSED = {
    sre.ASSERT: "lookahead is supported here at the beginning alone, as in '^(?!det)', and lookbehind is not: use the "
    "allowed list for what a name must have, and the forbidden list for what it must not have",
    sre.GROUPREF: "backreferences are not supported here: write each text that may be repeated, as in '(aa|bb)'",
    sre.GROUPREF_EXISTS: f"conditional groups are not supported here: {_CASES_AS_LINES}",
    sre.POSSESSIVE_REPEAT: "possessive repetitions are not supported here: leave out the second '+' ('a+' for 'a++'), "
    f"or {_CASES_AS_LINES}",
    sre.ATOMIC_GROUP: f"atomic groups are not supported here: use '(...)', or {_CASES_AS_LINES}",
}
_REFUSED |= dict.fromkeys((sre.ASSERT_NOT, sre.FAILURE), _REFUSED[sre.ASSERT])
_NESTING = (sre.SUBPATTERN, sre.MAX_REPEAT, sre.MIN_REPEAT, sre.ASSERT, sre.ASSERT_NOT)
_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}

Tree: TypeAlias = Iterable[tuple[Any, Any]]
"""What Python's parser returns: pairs of an operation and what it is applied to."""


@dataclass(frozen=True)
class LinearPattern:
    """A compiled expression."""

    pattern: str
    """As it was written."""
    _parts: tuple[tuple[Any, bool], ...]
    """What RE2 has compiled, and whether each must fit or must not."""
    _alphabet: Alphabet

    def search(self, text: str, /) -> bool:
        """Tell whether the expression fits anywhere in a text."""
        encoded = self._alphabet.encode(text)
        return all((part.search(encoded) is not None) is wanted for part, wanted in self._parts)


def compile_linear(expression: str) -> LinearPattern:
    """Compile an expression.

    Raises:
        ValueError: It is too long, is not valid, or has what is not supported here.
    """
    if len(expression) > LONGEST:
        raise ValueError(f"it has {len(expression)} characters, and {LONGEST} are allowed")
    try:
        tree = sre_parser.parse(expression)
        alphabet, flags = Alphabet.of(tree), tree.state.flags
        trees = _split_lookaheads(list(tree), flags)
        options = _options(MEMORY // len(trees))
        parts = ((_translate(part, flags, alphabet), wanted) for part, wanted in trees)
        compiled = tuple((re2.compile(part.encode(), options), wanted) for part, wanted in parts)
    except re.error as error:
        raise ValueError(str(error)) from error
    except (OverflowError, re2.error) as error:
        raise ValueError(_TOO_LARGE) from error
    except RecursionError as error:
        raise ValueError("its groups are nested too deeply") from error
    return LinearPattern(expression, compiled, alphabet)


@dataclass(frozen=True)
class Alphabet:
    """Characters as single bytes: those of ASCII, those that an expression mentions, and stand-ins for all others."""

    characters: str
    """Each at the index that is its byte."""

    @classmethod
    def of(cls, tree: Tree) -> Alphabet:
        """Make the alphabet of an expression.

        Raises:
            ValueError: It mentions too many characters.
        """
        mentioned = {code for code in _mentioned(tree) if code > 127}
        if len(mentioned) > _MOST_BEYOND_ASCII:
            raise ValueError(f"it has more than {_MOST_BEYOND_ASCII} different characters beyond ASCII")
        others = "".join(sorted({*map(chr, mentioned), *_OTHER_CASES}))
        stand_ins = "".join(next(c for c in kind if c not in others) for kind in _STAND_INS)
        return cls(_ASCII + others + stand_ins)

    def encode(self, text: str) -> bytes:
        """Write a text in this alphabet."""
        return text.encode() if text.isascii() else bytes(map(self._byte, text))

    def fitting(self, character_class: str, flags: int) -> str:
        """Return the characters that Python finds in a class, as a class of RE2."""
        relevant = flags & (re.ASCII | re.IGNORECASE | re.DOTALL)
        found = re.compile(character_class, relevant).findall(self.characters)
        return _byte_class(self.characters.index(character) for character in found)

    def _byte(self, character: str) -> int:
        at = self.characters.find(character)
        return at if at >= 0 else self.characters.index(self._stand_in(character))

    def _stand_in(self, character: str) -> str:
        letter, digit, space, other = self.characters[-len(_STAND_INS) :]
        if character.isdecimal():
            return digit
        return letter if character.isalnum() else space if character.isspace() else other


def _split_lookaheads(tree: list[tuple[Any, Any]], flags: int) -> list[tuple[Tree, bool]]:
    """Take lookaheads from the beginning of an expression: all start where a name starts, so each is tried alone."""
    begins = tree[:1] == [(sre.AT, sre.AT_BEGINNING)] and not flags & re.MULTILINE
    if not begins and tree[:1] != [(sre.AT, sre.AT_BEGINNING_STRING)]:
        return [(tree, True)]
    beginning, rest = tree[:1], tree[1:]
    lookaheads = list(takewhile(_is_lookahead, rest))
    if len(lookaheads) > _MOST_LOOKAHEADS:
        raise ValueError(f"it has {len(lookaheads)} lookaheads, and {_MOST_LOOKAHEADS} are allowed")
    split: list[tuple[Tree, bool]] = [(beginning + rest[len(lookaheads) :], True)]
    return split + [([*beginning, *inner], kind is sre.ASSERT) for kind, (_, inner) in lookaheads]


def _is_lookahead(part: tuple[Any, Any]) -> bool:
    operation, value = part
    return operation in (sre.ASSERT, sre.ASSERT_NOT) and value[0] == 1


def _mentioned(tree: Tree) -> Iterator[int]:
    """Yield the code points beyond ASCII in an expression; of a large range not all of them."""
    for operation, value in tree:
        if operation in (sre.LITERAL, sre.NOT_LITERAL):
            yield value
        elif operation is sre.RANGE:
            yield from range(max(value[0], 128), value[1] + 1)[: _MOST_BEYOND_ASCII + 1]
        for below in _parts(operation, value):
            yield from _mentioned(below)


def _parts(operation: Any, value: Any) -> list[Tree]:
    """Return the expressions inside an operation."""
    if operation is sre.IN:
        return [value]
    if operation is sre.BRANCH:
        return value[1]
    return [value[-1]] if operation in _NESTING else []


def _translate(tree: Tree, flags: int, alphabet: Alphabet) -> str:
    """Write an expression for RE2."""
    return "".join(_translate_one(operation, value, flags, alphabet) for operation, value in tree)


def _translate_one(operation: Any, value: Any, flags: int, alphabet: Alphabet) -> str:
    if operation in _REFUSED:
        raise ValueError(_REFUSED[operation])
    if operation is sre.AT:
        return _position(value, flags)
    if operation is sre.BRANCH:
        return f"(?:{'|'.join(_translate(case, flags, alphabet) for case in value[1])})"
    if operation is sre.SUBPATTERN:
        _, added, removed, inner = value
        return f"(?:{_translate(inner, _scoped(flags, added, removed), alphabet)})"
    if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, inner = value
        return f"(?:{_translate(inner, flags, alphabet)}){_count(least, most)}"
    return _characters(operation, value, flags, alphabet)


def _characters(operation: Any, value: Any, flags: int, alphabet: Alphabet) -> str:
    """Write what fits one character."""
    if operation is sre.LITERAL and value < 128 and not flags & re.IGNORECASE:
        return _byte_class([value])
    if flags & re.IGNORECASE and any(code > 127 for code in _mentioned([(operation, value)])):
        raise ValueError("'(?i)' is supported for the letters of ASCII here: write other letters in both cases")
    return alphabet.fitting("." if operation is sre.ANY else _character_class(operation, value), flags)


def _character_class(operation: Any, value: Any) -> str:
    """Write a class of characters for Python as it was read."""
    if operation is sre.IN:
        return f"[{''.join(_in_class(*part) for part in value)}]"
    return f"[{'^' if operation is sre.NOT_LITERAL else ''}{_escaped(value)}]"


def _in_class(operation: Any, value: Any) -> str:
    if operation is sre.NEGATE:
        return "^"
    if operation is sre.CATEGORY:
        return _CATEGORIES[value]
    return f"{_escaped(value[0])}-{_escaped(value[1])}" if operation is sre.RANGE else _escaped(value)


def _position(value: Any, flags: int) -> str:
    """Write what fits between characters."""
    if value is sre.AT_BEGINNING:
        return "(?m:^)" if flags & re.MULTILINE else r"\A"
    if value is sre.AT_END:
        return "(?m:$)" if flags & re.MULTILINE else r"(?:\n?\z)"
    if value is sre.AT_BOUNDARY and flags & re.ASCII:
        return r"\b"
    if value in (sre.AT_BEGINNING_STRING, sre.AT_END_STRING):
        return r"\A" if value is sre.AT_BEGINNING_STRING else r"\z"
    raise ValueError(
        r"'\b' is supported here for words of ASCII characters, with '(?a)' at the beginning of the expression; "
        r"'\B' is not: write what stands there, as in '[a-z]'"
    )


def _scoped(flags: int, added: int, removed: int) -> int:
    """Return the flags inside a group; another kind of characters replaces the present one."""
    kinds = re.ASCII | re.UNICODE
    return (flags & ~(kinds if added & kinds else 0) & ~removed) | added


def _count(least: int, most: Any) -> str:
    if most is not sre.MAXREPEAT:
        return f"{{{least},{most}}}"
    return {0: "*", 1: "+"}.get(least, f"{{{least},}}")


def _byte_class(found: Iterable[int]) -> str:
    listed = "".join(f"\\x{byte:02x}" for byte in found)
    return f"[{listed}]" if listed else r"[^\x00-\xff]"


def _escaped(code: int) -> str:
    return f"\\U{code:08x}"


def _options(memory: int) -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes are characters
    options.max_mem = memory
    options.never_capture = True
    options.log_errors = False
    return options
