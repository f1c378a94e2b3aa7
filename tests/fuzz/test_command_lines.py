"""Command lines: every command and option that the app has, with values that few of them take."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from bench.cli import app
from solvers import registry
from tests.conftest import RELUBENCH, Ended, random_network
from tests.fuzz.conftest import Workplace, checked
from tests.fuzz.hunting import hunt

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
NUMBERS = ["0", "1", "-1", "2", "0.05", "-0.0", "1e-320", "1e30", "1e308", "1e400", "nan", "-inf", "inf", "1_0", "0x10"]
HUGE = [str(2**31), str(2**63), str(-(2**63) - 1), "1" + "0" * 18, "1" + "0" * 400, "9" * 5000]
WORDS = [
    "",
    " ",
    "-",
    "--",
    "--help",
    "none",
    "auto",
    "highs",
    "interval",
    "lp",
    "fgsm",
    "verdict",
    "x" * 300,
    "é",
    "\udcff",
]
CLIPS = ["0,1", "1,0", "nan,1", "0,", "0,1,2", "-1e308,1e308", "0,inf"]
PLACES = [
    *("tiny.safetensors", "mnist_small", "suite.toml", "run", "empty", "folder", "pipe", "/dev/zero", "/dev/null"),
    *("..", ".", "nosuch", "nosuch/x.mps", "loop", "x" * 300, "out.safetensors", "out.mps", "out.lp", "x.npy", "text"),
]
# No shipped suite, and no network that a solver works on for long.
VALUES = NUMBERS + HUGE + WORDS + CLIPS + PLACES
USUAL = {
    "verify": ["tiny.safetensors", "--epsilon", "0.01", "--time-limit", "5"],
    "attack": ["tiny.safetensors", "--epsilon", "0.01", "--images", "3", "--steps", "2", "--device", "cpu"],
    "export": ["tiny.safetensors", "out.mps", "--epsilon", "0.01", "--target", "3"],
    "run": ["suite.toml"],
    "status": ["run"],
    "report": ["run"],
    "check": ["run"],
    "compare": ["run", "run"],
    "pair": ["suite.toml", "--base", "nosuch", "--head", "nosuch"],
    "train": ["mnist_small", "--epochs", "1"],
}
LAST = {"train": ["--data", "no-data"]}  # the last word counts: nothing is downloaded
SUITE = """name = "small"
[[verify]]
networks = ["tiny.safetensors"]
images = 1
epsilons = [0.01]
methods = ["interval"]
"""


@st.composite
def command_lines(draw: DrawFn) -> list[str]:
    """A command as it is usually called, with options added, arguments replaced, and words lost or doubled."""
    name = draw(st.sampled_from([*sorted(USUAL), *sorted(COMMANDS)]))
    words = list(USUAL.get(name, []))
    for place in draw(st.lists(st.integers(0, max(len(words) - 1, 0)), max_size=1)):
        words[place : place + 1] = draw(st.sampled_from([[], ["--nosuch"], [draw(st.sampled_from(VALUES))]]))
    for option in draw(st.lists(st.sampled_from(options(name)), min_size=1, max_size=3)):
        words += [option, draw(values(option))]
    return [name, *words, *LAST.get(name, [])]


def options(command: str) -> list[str]:
    """Every option of a command, in all its spellings."""
    found = (option for each in COMMANDS[command].params for option in (*each.opts, *each.secondary_opts))
    return sorted(option for option in found if option.startswith("-")) or ["--json"]


def values(option: str) -> SearchStrategy[str]:
    """Mostly what an option of this name might take, sometimes anything."""
    alike = {"--clip": CLIPS, "--data": PLACES, "--out": PLACES, "--input": PLACES}.get(option, NUMBERS + HUGE + WORDS)
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
    return st.one_of(st.sampled_from(alike), st.sampled_from(VALUES), text)


@pytest.fixture
def furnished(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """A workplace with a network, a suite, a run, and things that are no regular files; `..` is inside it."""
    Path("inner").mkdir()
    monkeypatch.chdir("inner")
    random_network(seed=0).save("tiny.safetensors")
    Path("suite.toml").write_text(SUITE, encoding="utf-8")
    Path("empty").touch()
    Path("text").write_text("neither weights nor structure", encoding="utf-8")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    os.mkfifo("pipe")
    assert workplace.run("run", "suite.toml", "--out", "run").code == 0
    return workplace


def test_a_command_line_ends_in_an_answer_or_in_one_clear_line(furnished: Workplace) -> None:
    hunt("arguments", command_lines(), lambda words: checked_run(furnished, words))


def checked_run(place: Workplace, words: list[str]) -> None:
    kept = set(os.listdir())
    place.run(*words)
    assert kept <= set(os.listdir())


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "folder", "loop", "x" * 300, "empty", "\udcff"])
@pytest.mark.parametrize(
    "words",
    [
        ["run", "{}"],
        ["verify", "{}", "-e", "0.1"],
        ["verify", "tiny.safetensors", "-e", "0.1", "--input", "{}", "--label", "1"],
        ["export", "{}", "out.safetensors", "--architecture", "mnist_small"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_what_is_no_regular_file_is_refused_at_once(name: str, words: list[str], furnished: Workplace) -> None:
    assert furnished.run(*(word.format(name) for word in words)).code == 2


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "folder"])
@pytest.mark.parametrize("file", ["rows.jsonl", "manifest.json"])
def test_a_run_whose_files_are_none_is_refused_at_once(name: str, file: str, furnished: Workplace) -> None:
    Path("run", file).unlink()
    Path("run", file).symlink_to(Path(name).absolute())
    assert furnished.run("report", "run").code == 2


@pytest.mark.parametrize("name", ["pipe.mps", "pipe.lp", "pipe.safetensors"])
def test_a_pipe_is_not_written_to(name: str, furnished: Workplace) -> None:
    os.mkfifo(name)
    ended = furnished.run("export", "tiny.safetensors", name, "-e", 0.01, "-t", 3)
    assert ended.code == 2
    assert f"{name}" in ended.err
    assert "cannot be written: a named pipe" in ended.err


def test_names_that_are_no_text_are_printed_with_escapes(furnished: Workplace) -> None:
    Path("tiny.safetensors").rename("\udcff.safetensors")
    Path("run").rename("\udcff")
    assert "\\udcff.safetensors: 6 ReLUs" in furnished.run("networks", "\udcff.safetensors").out
    assert furnished.run("report", "\udcff", "--out", "out").code == 0
    assert Path("out/report.md").read_text(encoding="utf-8").startswith("# Report on \\udcff")


def test_want_of_memory_is_one_line_and_code_1(furnished: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted() -> list[str]:
        raise MemoryError

    monkeypatch.setattr(registry, "names", exhausted)
    ended = furnished.run("solvers")
    assert (ended.code, ended.err) == (
        1,
        "relubench: error: out of memory; expected a smaller network, file or number\n",
    )


SPAWNED = [
    ["verify", "tiny.safetensors", "-e", "nan"],
    ["verify", "tiny.safetensors", "-e", "1e308", "-m", "lp", "--time-limit", "1e308"],
    ["verify", "tiny.safetensors", "-e", "0.1", "--threads", "1000000000"],
    ["run", "pipe"],
    ["run", "/dev/zero"],
    ["export", "text", "out.safetensors", "--architecture", "mnist_small"],
    ["networks", b"\xff\xfe"],
    ["attack", "tiny.safetensors", "-e", "0.1", "--steps", "1000000000000000000"],
    ["train", "mnist_small", "--data", "no-data", "--seed", "9" * 30],
    ["report", "run", "--out", "/dev/null/x"],
]


@pytest.mark.parametrize("words", SPAWNED, ids=lambda words: " ".join(map(str, words[:3]))[:40])
def test_a_process_of_its_own_ends_the_same_way(words: list[str | bytes], furnished: Workplace) -> None:
    ended = subprocess.run([*RELUBENCH, *words], capture_output=True, timeout=60)
    checked(Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode()))
    assert ended.returncode in (0, 2)
