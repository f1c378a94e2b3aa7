"""Malformation with structure: documents and bytes that were valid until something in them was changed."""

from __future__ import annotations

import copy
import json
import math
import string
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

DEEP = 10_000  # levels
LONG = 5_000  # digits: more than Python reads as a decimal number


class Raw(str):
    """What stands in a text file as it is, be it valid there or not."""

    __slots__ = ()


NUMBERS: tuple[Any, ...] = (
    *(0, -1, 1, 2, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**18, 10**30, Raw("9" * LONG), Raw("0x" + "f" * LONG)),
    *(0.5, -0.0, 1e-320, 1e308, -1e308, math.nan, math.inf, -math.inf, Raw("1e400"), Raw("-1e400"), Raw("1_0")),
)
TEXTS: tuple[Any, ...] = (
    *("", " ", "\t", ".", "..", "../../escaped", "/dev/zero", "/etc/passwd", "a/b", "-", "--help", "none", "highs"),
    *("\0", "a\0b", "\x1b[31mred", "line\nbreak", "\r", "\u2028", "\N{GREEK SMALL LETTER EPSILON}", "\U0001f600"),
    *("\ud800", "x" * 300, "x" * 10_000, "{}", "{0.__class__}", "%s%n", "[bold]", "cvxpy:NOSUCH", "mnist_small"),
)
OTHERS: tuple[Any, ...] = (
    *(None, True, False, [], {}, [[]], [None], {"": None}, [1, "a"], {"kind": "Linear"}, ["x"] * 1000),
    *(
        Raw("[" * DEEP + "]" * DEEP),
        Raw('{"a":' * DEEP + "1" + "}" * DEEP),
        Raw("1979-05-27"),
        Raw("07:32:00"),
        Raw(""),
    ),
    *(Raw("'"), Raw("null"), Raw("undefined"), Raw("\\u0000"), Raw("// comment"), Raw("# comment")),
)


def hostile() -> SearchStrategy[Any]:
    """A value that is valid in few places."""
    short = st.text(st.characters(exclude_categories=[]), max_size=8)
    return st.one_of(
        st.sampled_from(NUMBERS),
        st.sampled_from(TEXTS),
        st.sampled_from(OTHERS).map(copy.deepcopy),  # they are changed in their turn
        st.integers(),
        st.floats(),
        short,
        st.lists(st.one_of(st.integers(), st.floats(), short), max_size=4),
    )


Path = tuple[Any, ...]


def places(document: Any, path: Path = ()) -> list[Path]:
    """Where the document has values, itself among them."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


@st.composite
def mutated(draw: DrawFn, document: Any, most_edits: int = 3) -> Any:
    """`document`, of dicts and lists, with one or more values replaced, taken out, doubled or added to."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most_edits))):
        *way, last = draw(st.sampled_from(places(changed)[1:] or [(None,)]))
        holder = changed
        for key in way:
            holder = holder[key]
        if last is not None:
            draw(st.sampled_from(EDITS))(draw, holder, last)
    return changed


def _replace(draw: DrawFn, holder: Any, key: Any) -> None:
    holder[key] = draw(hostile())


def _remove(draw: DrawFn, holder: Any, key: Any) -> None:
    del holder[key]


def _add(draw: DrawFn, holder: Any, key: Any) -> None:
    """An unknown key, the same key again in other letters, or one more of a list."""
    if isinstance(holder, list):
        holder.insert(key, draw(hostile()))
    else:
        holder[draw(st.sampled_from([f"{key} ", f"{key}s", str(key).upper(), "", "__class__", "x" * 300]))] = holder[
            key
        ]


def _wrap(draw: DrawFn, holder: Any, key: Any) -> None:
    holder[key] = draw(st.sampled_from([[holder[key]], {"value": holder[key]}, str(holder[key])]))


EDITS = (_replace, _replace, _replace, _remove, _add, _wrap)


@st.composite
def mangled(draw: DrawFn, content: bytes) -> bytes:
    """`content` cut, with bits flipped, bytes put in, a part doubled, or in another encoding."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(changed) - 1, 0)))
        change = draw(st.sampled_from(["cut", "flip", "insert", "double", "encode", "drop", "overwrite"]))
        if change == "cut":
            del changed[place:]
        elif change == "flip" and changed:
            changed[place] ^= 1 << draw(st.integers(0, 7))
        elif change == "insert":
            changed[place:place] = draw(st.sampled_from([b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b'"', b"[" * 2000]))
        elif change == "double":
            changed[place:place] = changed[place : place + 100]
        elif change == "encode":
            changed = bytearray(bytes(changed).decode("latin-1").encode(draw(st.sampled_from(["utf-16", "utf-7"]))))
        elif change == "drop":
            del changed[place : place + draw(st.integers(1, 50))]
        else:
            changed[place : place + 8] = draw(st.binary(min_size=8, max_size=8))
    return bytes(changed)


def to_json(value: Any) -> str:
    """JSON, with NaN, Raw parts and keys of any kind where the value has them."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_json, value)) + "]"
    return json.dumps(value)


def to_toml(document: Any) -> str:
    """TOML: keys with plain values first, then the lists of tables."""
    if not isinstance(document, dict):
        return _toml(document)
    tables = {key: value for key, value in document.items() if _are_tables(value)}
    lines = [f"{_key(key)} = {_toml(value)}" for key, value in document.items() if key not in tables]
    for key, entries in tables.items():
        for entry in entries:
            lines += [f"[[{_key(key)}]]", *(f"{_key(name)} = {_toml(value)}" for name, value in entry.items())]
    return "\n".join(lines) + "\n"


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _toml(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)  # nan and inf are words of TOML
    return json.dumps(value)  # null is none


def _key(key: Any) -> str:
    plain = str(key) and set(str(key)) <= set(string.ascii_letters + string.digits + "_-")
    return str(key) if plain else json.dumps(str(key))


def encoded(text: str) -> bytes:
    """UTF-8, with lone surrogates as they are."""
    return text.encode("utf-8", errors="surrogatepass")
