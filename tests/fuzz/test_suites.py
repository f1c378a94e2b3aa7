"""Suite files: whatever they hold, `load_suite` and the plan end in a suite or in one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from bench.plan import make_plan
from bench.suite import MOST_CELLS, expand, load_suite
from tests.conftest import random_network
from tests.fuzz.conftest import Workplace, refused_at_most
from tests.fuzz.hunting import hunt
from tests.fuzz.strategies import encoded, mangled, mutated, to_toml

SUITE: dict[str, Any] = {
    "name": "fuzzed",
    "description": "one of each",
    "threads": 1,
    "seeds": [0, 1],
    "repeats": 2,
    "time_limit_s": 1.5,
    "verify": [
        {
            "networks": ["tiny.safetensors"],
            "images": [0, 7],
            "epsilons": [0.01, 0],
            "methods": ["interval", "lp", "milp", "staged"],
            "solvers": ["highs"],
            "bounds": ["linear", "interval"],
            "goals": ["margin", "verdict"],
            "formulations": ["compact", "textbook"],
            "stable": ["keep"],
            "relus": ["bigm"],
            "queries": ["each", "maximum"],
            "stops": ["row"],
            "starts": ["none"],
            "clip": [0, 1],
            "time_limit_s": 1,
        }
    ],
    "attack": [
        {
            "networks": ["tiny.safetensors"],
            "images": 3,
            "epsilons": [0.1],
            "methods": ["fgsm", "pgd_linf"],
            "steps": 2,
            "step": 0.1,
            "restarts": 1,
            "target": 3,
            "clip": False,
            "device": "cpu",
            "keep_images": 1,
        }
    ],
}
FILES = st.one_of(
    mutated(SUITE).map(lambda suite: encoded(to_toml(suite))),
    mutated(SUITE).map(lambda suite: encoded(to_toml(suite))),
    mangled(encoded(to_toml(SUITE))),
    st.binary(max_size=60),
)


def test_a_suite_file_ends_in_a_plan_or_in_one_clear_line(workplace: Workplace) -> None:
    random_network(seed=0).save(workplace.given / "tiny.safetensors")

    def check(content: bytes) -> None:
        Path("suite.toml").write_bytes(content)
        before = workplace.outside()
        with refused_at_most():
            suite = load_suite("suite.toml")
            assert len(expand(suite)) in range(1, MOST_CELLS + 1)
            make_plan(suite)
        assert workplace.outside() == before

    hunt("suite", FILES, check)
