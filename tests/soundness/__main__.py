"""`python -m tests.soundness`: asks hostile networks of every method and solver, and compares with the exact answers.

Exit code 1 where anything is wrong; the networks and the questions are then in `--out`.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.soundness.hostile import FAMILIES
from tests.soundness.hunt import again, hunt, save, table


def main() -> int:
    """Run the command."""
    arguments = _arguments()
    if arguments.again:
        return _again(arguments.again)
    begin, answers, faulty = time.perf_counter(), [], 0
    indices = _indices(arguments)
    for found in hunt(arguments.seed, indices, arguments.jobs):
        answers += found
        for answer in found:
            if answer.faults:
                faulty += 1
                path = save(arguments.out, arguments.seed, answer)
                print(f"{path}: {answer.way}: {'; '.join(answer.faults)}", flush=True)
    print(table(answers))
    took = time.perf_counter() - begin
    print(f"{len(indices)} networks, {len(answers)} answers, {faulty} with faults; {took:.0f} s")
    return 1 if faulty or not answers else 0


def _again(paths: list[Path]) -> int:
    """Ask what is written down once more."""
    answers = [again(path) for path in paths]
    for path, answer in zip(paths, answers, strict=True):
        print(f"{path}: {answer.verdict}: {'; '.join(answer.faults) or 'nothing wrong'}")
    return 1 if any(answer.faults for answer in answers) else 0


def _indices(arguments: argparse.Namespace) -> Sequence[int]:
    """The networks that are asked for: one, or so many of all families or of one."""
    if arguments.network is not None:
        return [arguments.network]
    if arguments.family is None:
        return range(arguments.networks)
    first = list(FAMILIES).index(arguments.family)
    return range(first, first + arguments.networks * len(FAMILIES), len(FAMILIES))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soundness", description=__doc__)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", type=int, help="only the network of that number")
    parser.add_argument("--family", choices=FAMILIES, help="only networks of that family")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=Path("results/soundness"), help="folder of what went wrong")
    parser.add_argument(
        "--again", type=Path, nargs="+", metavar="JSON", help="only these questions, from an earlier run"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
