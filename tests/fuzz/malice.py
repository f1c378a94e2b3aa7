"""Objects that would run code when they are unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Malicious:
    """Its pickle calls `function` on `arguments` when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def malicious(canary: Path) -> Malicious:
    """An object whose loading makes the file `canary`."""
    return Malicious(open, str(canary), "w")
