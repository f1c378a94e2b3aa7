"""Runs' folders: rows, manifests and arrays that no run wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from bench.store import ARRAYS, MANIFEST, ROWS, Store
from tests.bench.made_rows import attack_row, failed, verify_row
from tests.fuzz.conftest import Workplace, refused_at_most, run
from tests.fuzz.hunting import hunt
from tests.fuzz.strategies import encoded, mangled, mutated, to_json
from tests.fuzz.test_arrays import array_files, sound_arrays

ROW = json.loads(
    replace(
        verify_row(
            method="staged", stage=["lp", ""], stage_s={"lp": 0.1}, counters={"nodes": 3}, versions={"numpy": "2"}
        ),
        machine={"load": 0.5},
        enforced={"time": "kill"},
        safety=[0.0, 0.0],
        claimed=[1.0, -1.0],
        certified=[1.0, -1.0],
    ).to_json()
)
ATTACK = json.loads(attack_row(target=3).to_json())
SOUND = [
    verify_row(),
    verify_row(solver="gurobi"),
    verify_row(method="interval"),
    attack_row(),
    failed(verify_row(image=1), "E: x"),
]
MANIFEST_VALUE: dict[str, Any] = {
    "suite": {"name": "quick", "description": "a few"},
    "starts": [
        {"start": "2026", "cpu": "x", "cores": 2, "device": None, "git_commit": "abc", "versions": {"numpy": "2"}}
    ],
}
LINES = st.one_of(
    mutated(ROW).map(lambda row: encoded(to_json(row))),
    mutated(ATTACK).map(lambda row: encoded(to_json(row))),
    mangled(encoded(to_json(ROW))),
)


def test_a_line_ends_in_a_row_or_in_one_clear_line(workplace: Workplace) -> None:
    def check(line: bytes) -> None:
        Path(ROWS).write_bytes(SOUND[0].to_json().encode() + b"\n" + line + b"\n")
        with refused_at_most() as said:
            Store(Path())
        assert all(f"{ROWS}, line " in message for message in said)

    hunt("rows", LINES, check)


def test_a_report_on_changed_rows_ends_in_a_report_or_in_one_clear_line(workplace: Workplace) -> None:
    Path("run").mkdir()
    (Path("run") / MANIFEST).write_text("{}", encoding="utf-8")
    sound = "".join(row.to_json() + "\n" for row in SOUND).encode()

    def check(lines: list[bytes]) -> None:
        (Path("run") / ROWS).write_bytes(sound + b"\n".join(lines) + b"\n")
        ended = workplace.run("report", "run", "--chapter", "--out", "out", "--format", "markdown")
        assert ended.code == 0 or f"{ROWS}, line " in ended.err

    hunt("report", st.lists(PLAUSIBLE, min_size=1, max_size=4), check)


@pytest.mark.parametrize("name", ["../elsewhere.npz", "/etc/passwd", "arrays/link.npz"])
def test_arrays_outside_the_runs_folder_are_not_read(name: str, workplace: Workplace) -> None:
    Path("elsewhere.npz").write_bytes(sound_arrays())
    Path("run/arrays").mkdir(parents=True)
    Path("run/arrays/link.npz").symlink_to(Path("elsewhere.npz").absolute())
    Path("run", ROWS).write_text(attack_row(method="fgsm", arrays=name).to_json() + "\n", encoding="utf-8")
    ended = workplace.run("report", "run", "--chapter", "--out", "out")
    assert ended.code == 0
    assert f"arrays is {name!r}; expected a file below the run's folder" in Path("out/report.md").read_text()
    assert not list(Path("out").rglob("*.png"))


def plausible(**base: Any) -> st.SearchStrategy[bytes]:
    """Lines of the right types, with values that no run gives."""
    numbers = st.sampled_from([0, 1, -1, 2**53, 2**63 - 1, 1e308, -1e308, 1e-320, 0.1, None])
    words = st.sampled_from(
        ["", "x", "mnist_cnn", "fgsm", "\0", "a|b", "\x1b[0m", "[bold]", "x" * 500, "verified", None]
    )
    changes = st.dictionaries(
        st.sampled_from(sorted(base)), st.one_of(numbers, words, st.lists(numbers, max_size=2)), max_size=2
    )
    return changes.map(lambda change: encoded(to_json(base | change)))


PLAUSIBLE = st.one_of(
    plausible(**ROW), plausible(**ATTACK), plausible(**ROW | {"targets": [], "lower": [], "upper": []})
)


def test_a_manifest_ends_in_a_report_or_in_one_clear_line(workplace: Workplace) -> None:
    Path("run").mkdir()
    (Path("run") / ROWS).write_text(SOUND[0].to_json() + "\n", encoding="utf-8")
    manifests = st.one_of(
        mutated(MANIFEST_VALUE).map(lambda value: encoded(to_json(value))), mangled(json.dumps(MANIFEST_VALUE).encode())
    )

    def check(content: bytes) -> None:
        (Path("run") / MANIFEST).write_bytes(content)
        ended = workplace.run("report", "run")
        assert ended.code == 0 or MANIFEST in ended.err

    hunt("manifest", manifests, check)


def test_an_array_file_ends_in_a_picture_or_in_one_clear_line(workplace: Workplace) -> None:
    row = attack_row(method="fgsm", arrays=f"{ARRAYS}/a.npz")
    folder = Path("run")
    (folder / ARRAYS).mkdir(parents=True)
    (folder / ROWS).write_text(row.to_json() + "\n", encoding="utf-8")

    (folder / ARRAYS / "a.npz").write_bytes(sound_arrays())
    assert run("report", "run", "--chapter", "--out", "out").code == 0  # matplotlib makes its caches
    assert Path("out/images/fgsm_mnist_cnn.png").exists()

    def check(content: bytes) -> None:
        (folder / ARRAYS / "a.npz").write_bytes(content)
        ended = workplace.run("report", "run", "--chapter", "--out", "out")
        assert ended.code == 0 or "a.npz" in ended.err

    hunt("npz", array_files(workplace.canary), check)
