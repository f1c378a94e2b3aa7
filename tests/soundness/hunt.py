"""Asks many hostile networks in many ways, in processes of its own, and writes down what went wrong."""

from __future__ import annotations

import json
import multiprocessing
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as TooLongError
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np
from pebble import ProcessExpired, ProcessPool

from bench.choices import BY_PROPAGATION
from networks.layers import LayerList
from tests.soundness import asking, hostile
from tests.soundness.asking import Way
from tests.soundness.exact import Ball

LONGEST_S = 300.0  # for all that is asked of one network
HEAD = f"{'':16}{'asked':>7}{'verified':>10}{'falsified':>10}{'unknown':>9}{'error':>7}{'faults':>8}{'decided':>9}"
Task = tuple[int, int, int | None]  # seed, network, and the only way to ask it where not all of them


@dataclass(frozen=True, slots=True)
class Answer:
    """What one way to ask one network gave."""

    index: int
    family: str
    robust: bool | None
    way: Way
    verdict: str
    tier: str | None
    faults: tuple[str, ...]

    @property
    def who(self) -> str:
        """The solver, or that there is none."""
        return "propagation" if self.way["method"] in BY_PROPAGATION else str(self.way["solver"])


Ask = Callable[[Task], list[Answer]]


def ways_of(seed: int, index: int) -> list[Way]:
    """How the network of that number is asked."""
    return list(asking.ways(np.random.default_rng([seed, index, 1])))


def asked(task: Task) -> list[Answer]:
    """The answers of one network."""
    seed, index, only = task
    case, ways = hostile.case(seed, index), ways_of(seed, index)
    chosen = ways if only is None else [ways[only]]
    return [_answer(case, index, way) for way in chosen]


def _answer(case: hostile.Case, index: int, way: Way) -> Answer:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            outcome = asking.ask(case, way)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        return Answer(index, case.family, case.robust, way, "error", None, (said,))
    tier = None if outcome.tier is None else outcome.tier.value
    faults = tuple(asking.faults(case, outcome))
    return Answer(index, case.family, case.robust, way, outcome.verdict.value, tier, faults)


def hunt(seed: int, indices: Iterable[int], jobs: int, ask: Ask = asked) -> Iterator[list[Answer]]:
    """The answers, network by network; a process that dies or hangs is a fault of the way that made it."""
    again: list[Task] = []
    for task, answers in _in_pool(ask, [(seed, index, None) for index in indices], jobs):
        if isinstance(answers, str):
            again += [(seed, task[1], only) for only in range(len(ways_of(seed, task[1])))]
        else:
            yield answers
    for task, answers in _in_pool(ask, again, jobs):
        yield [_dead(task, answers)] if isinstance(answers, str) else answers


def _in_pool(ask: Ask, tasks: list[Task], jobs: int) -> Iterator[tuple[Task, list[Answer] | str]]:
    """Each task with its answers, or how its process ended."""
    with ProcessPool(max_workers=jobs, context=multiprocessing.get_context("spawn")) as pool:
        futures = [(task, pool.schedule(ask, args=[task], timeout=LONGEST_S)) for task in tasks]
        for task, future in futures:
            try:
                yield task, future.result()
            except TooLongError:
                yield task, f"no end after {LONGEST_S:g} s"
            except ProcessExpired as end:
                yield task, f"the process died with exit code {end.exitcode}"


def _dead(task: Task, end: str) -> Answer:
    seed, index, only = task
    case = hostile.case(seed, index)
    assert only is not None
    return Answer(index, case.family, case.robust, ways_of(seed, index)[only], "error", None, (end,))


def table(answers: Sequence[Answer]) -> str:
    """What was asked and decided: a line a family, and a line a solver."""
    lines = [HEAD]
    for title, key in (("family", attrgetter("family")), ("asked of", attrgetter("who"))):
        names = dict.fromkeys(map(key, answers))
        lines += [title, *(_line(f"  {name}", [a for a in answers if key(a) == name]) for name in names)]
    return "\n".join([*lines, _line("all", answers)])


def _line(name: str, answers: Sequence[Answer]) -> str:
    count = Counter(answer.verdict for answer in answers)
    decided = (count["verified"] + count["falsified"]) / max(1, len(answers))
    numbers = [len(answers), *(count[word] for word in ("verified", "falsified", "unknown", "error"))]
    wide = "".join(f"{number:>{width}}" for number, width in zip(numbers, (7, 10, 10, 9, 7), strict=True))
    return f"{name:16}{wide}{sum(bool(answer.faults) for answer in answers):>8}{decided:>9.0%}"


def save(folder: Path, seed: int, answer: Answer) -> Path:
    """Write the network, as a layer list, and beside it what was asked and what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    question = hostile.case(seed, answer.index).question
    place = folder / f"{answer.family}_{seed}_{answer.index}"
    question.network.save(place.with_suffix(".safetensors"))
    number = len(list(folder.glob(f"{place.name}_*.json")))
    path = folder / f"{place.name}_{number}.json"
    path.write_text(json.dumps({**asdict(question.ball), "label": hostile.LABEL, **asdict(answer)}, indent=1))
    return path


def again(path: Path) -> Answer:
    """The answer today to a question that `save` wrote."""
    said = json.loads(path.read_text())
    network = LayerList.load(path.with_name(path.stem.rpartition("_")[0]).with_suffix(".safetensors"))
    clip = None if said["clip"] is None else tuple(said["clip"])
    question = hostile.Question(network, Ball(tuple(said["image"]), said["epsilon"], clip))
    return _answer(hostile.answered(said["family"], question), said["index"], said["way"])
