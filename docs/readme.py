"""Copies what README.md shows of a report from the report itself.

A block of README.md stands between `<!-- FILE: HEADING -->` and `<!-- end -->`: it becomes what FILE, a Markdown file,
has under the heading with that text, as far as the next heading. `--check` changes nothing and fails where a block
differs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- (?P<file>\S+): (?P<heading>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?:|#)([^)]+\))")


def section(text: str, heading: str) -> str:
    """What stands under a heading of a Markdown text.

    Raises
    ------
    ValueError
        The text has no such heading.
    """
    found = list(HEADING.finditer(text))
    for place, match in enumerate(found):
        if match[1] == heading:
            end = found[place + 1].start() if place + 1 < len(found) else len(text)
            return text[match.end() : end].strip("\n")
    raise ValueError(f"no heading {heading!r}; expected one of {', '.join(match[1] for match in found)}")


def filled(readme: str, root: Path) -> str:
    """README.md with every block as its file has it now, links made relative to `root`."""

    def fill(match: re.Match[str]) -> str:
        path = root / match["file"]
        try:
            content = section(path.read_text(encoding="utf-8"), match["heading"])
        except ValueError as error:
            raise ValueError(f"{match['file']}: {error}") from None
        moved = LINK.sub(rf"\g<1>{Path(match['file']).parent.as_posix()}/\g<2>", content)
        return f"{match[1]}\n{moved}\n\n{match[4]}"

    return BLOCK.sub(fill, readme)


def main(arguments: list[str]) -> int:
    """Fill README.md, or with `--check` say whether it is filled."""
    before = README.read_text(encoding="utf-8")
    after = filled(before, ROOT)
    if "--check" in arguments:
        print("README.md is as the reports have it" if before == after else "README.md differs: run `make readme`")
        return int(before != after)
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
