"""`relubench pair`: sides that answer, differ, fail, hang and die."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.pairing import session
from tests.bench.suites import write_suite
from tests.conftest import RunCommand
from tests.installations import SLOWER, copied, this_one


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return this_one(tmp_path_factory.mktemp("same"))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements too short for a real answer, long enough for these."""
    monkeypatch.setattr(session, "MEASURED_S", 0.005)


@pytest.fixture
def suite(tmp_path: Path, tiny_network: Path) -> Path:
    return write_suite(tmp_path, tiny_network, images=5)


def test_an_installation_is_not_slower_than_itself(
    relubench: RunCommand, suite: Path, same: Path, tmp_path: Path
) -> None:
    ended = relubench("pair", suite, "--base", same, "--head", same, "--out", tmp_path / "out")
    assert ended.code == 0, ended.out
    assert "Both sides run the same source" in ended.out
    found: dict[str, Any] = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert found["decision"] in ("fine", "undecided")
    assert len(found["cells"]) == 10
    for cell in found["cells"]:
        assert len(cell["pairs"]) == 2 * found["rounds"] >= 6


def test_a_slower_installation_is_caught(relubench: RunCommand, suite: Path, same: Path, tmp_path: Path) -> None:
    slower = copied(tmp_path / "slower", SLOWER.format(times=2))
    ended = relubench("pair", suite, "--base", same, "--head", slower)
    assert ended.code == 1, ended.out
    assert "slower: head takes " in ended.out
