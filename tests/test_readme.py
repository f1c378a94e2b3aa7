"""README.md: what it shows of reports is what the reports say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def readme() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "a").mkdir()
    text = "# T\n\n## X\n\nline ![f](figures/a.svg) and [h](https://x.org) [t](#x)\n\n### Y\n\nz\n"
    (tmp_path / "a" / "r.md").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_block_becomes_what_stands_under_the_heading_with_its_links_moved(readme: ModuleType, root: Path) -> None:
    text = "before\n<!-- a/r.md: X -->\nold\n<!-- end -->\nbetween\n<!-- a/r.md: Y -->\n<!-- end -->\n"
    expected = (
        "before\n<!-- a/r.md: X -->\n\nline ![f](a/figures/a.svg) and [h](https://x.org) [t](#x)\n\n<!-- end -->\n"
        "between\n<!-- a/r.md: Y -->\n\nz\n\n<!-- end -->\n"
    )
    assert readme.filled(text, root) == expected
    assert readme.filled(expected, root) == expected


def test_a_heading_that_is_not_there_is_said(readme: ModuleType, root: Path) -> None:
    with pytest.raises(ValueError, match=r"a/r.md: no heading 'Z'; expected one of T, X, Y"):
        readme.filled("<!-- a/r.md: Z -->\n<!-- end -->", root)


def test_every_number_of_a_report_in_the_readme_is_the_reports(readme: ModuleType) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.BLOCK.search(text)
    assert readme.filled(text, ROOT) == text
