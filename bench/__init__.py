"""The harness: verify, attack, suites and their runs, verdicts and reports.

The modules behind these names are imported when a name is first used, so that `relubench --help` stays fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.methods.attacks import AttackResult, attack
    from bench.outcome import Outcome
    from bench.verdict import Verdict
    from bench.verification import verify

    __version__: str

# No module of this package bears one of these names: importing it would put the module in the function's place.
_HOME = {
    "AttackResult": "bench.methods.attacks",
    "attack": "bench.methods.attacks",
    "Outcome": "bench.outcome",
    "Verdict": "bench.verdict",
    "verify": "bench.verification",
}

__all__ = ["AttackResult", "Outcome", "Verdict", "attack", "verify"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("relubench")
    if name not in _HOME:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, "__version__"})
