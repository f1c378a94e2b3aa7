"""The page, as a reader meets it: in a real browser, on a desk and on a phone, by day and by night, and on paper."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import altair
import pandas as pd
import pytest

from bench.report.content import content_of
from bench.report.files import Content, write_report
from bench.report.frame import load_run
from bench.report.render import Figure, Section, Table, count
from tests.bench.chromium import DESKTOP, PHONE, launched, opened
from tests.bench.made_rows import attack_row, failed, verify_row, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HOSTILE = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>&amp;"
LOG = "".join(f"node {number}  gap {100 - number} %\n" for number in range(90)) + HOSTILE
SIZES = pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])


def chart(facets: bool = False) -> Any:
    frame = pd.DataFrame(
        {"x": range(1, 31), "y": range(30), "solver": ["a", "b", HOSTILE] * 10, "cell": [f"{3:012x}"] * 30}
    )
    points = altair.Chart(frame).mark_point().encode(x="x", y="y", shape="solver", tooltip=["solver", "x", "cell"])
    if facets:
        return points.properties(width=260, height=120).facet("solver:N", columns=3)
    return points.properties(width="container", height=200)


def figures() -> Section:
    first = Figure("points", "Points of <two> solvers", "Thirty points, rising.", chart(), ("How to read it.",))
    second = Figure("facets", "By solver", "Three plots of ten points.", chart(facets=True))
    return Section("Figures", figures=(first, second))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page on a run with logs, failures, attacks, and texts that would like to be markup."""
    folder = tmp_path_factory.mktemp("page")
    asked = itertools.product(range(8), (0.01, 0.02, 0.03, 0.05, 0.1), ("highs", "gurobi"))
    rows = [
        verify_row(
            cell=f"{number:012x}{number:052x}",
            image=image,
            epsilon=epsilon,
            solver=solver,
            verdict="verified",
            log="logs/a.log",
            total_s=0.1 + image,
        )
        for number, (image, epsilon, solver) in enumerate(asked)
    ]
    rows += [failed(verify_row(image=99, solver="cbc"), f"Crash: {HOSTILE}"), attack_row(network=f"net{HOSTILE}")]
    run = write_run(folder / "run", rows, suite={"name": "made", "description": HOSTILE})
    (run / "logs").mkdir()
    (run / "logs" / "a.log").write_text(LOG)
    loaded = load_run(run)
    content = content_of(loaded)
    write_report(loaded, Content(content.title, (*content.sections, figures())), folder / "out")
    return folder / "out" / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def ready(page: Page) -> Page:
    page.wait_for_selector("table.cells tbody tr")
    return page


@SIZES
@SCHEMES
def test_it_is_drawn_whole_and_no_wider_than_the_screen(
    browser: Browser, page_file: Path, size: tuple[int, int], scheme: str
) -> None:
    with opened(browser, page_file, size, scheme) as page:
        ready(page)
        for name in ("points", "facets"):
            page.locator(f"#figure-{name}").scroll_into_view_if_needed()
            drawn = page.locator(f"#figure-{name} .drawn svg")
            drawn.wait_for()
            assert drawn.locator(".mark-symbol path").count() >= 30
            assert drawn.bounding_box()["width"] <= size[0]  # type: ignore[index]
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        style = "getComputedStyle(document.body)"
        ink, paper = page.evaluate(f"[{style}.color, {style}.backgroundColor]")
        assert (brightness(ink) > brightness(paper)) == (scheme == "dark")
        label = page.locator("#figure-points .drawn .role-axis-title text").first
        assert label.evaluate("each => getComputedStyle(each).fill") == ink
        assert page.evaluate("window.broken") is None


def brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))


def test_a_point_tells_its_instance_when_it_is_pointed_at(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.locator("#figure-points").scroll_into_view_if_needed()
        page.locator("#figure-points .drawn .mark-symbol path").first.hover()
        tip = page.locator("#vg-tooltip-element.visible")
        tip.wait_for()
        assert "solver" in tip.inner_text()


def test_a_click_on_a_point_opens_its_cell(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        page.locator("#figure-points").scroll_into_view_if_needed()
        page.locator("#figure-points .drawn .mark-symbol path").first.click()
        page.locator("dialog[open] pre.row").wait_for()
        assert f"{3:012x}{3:052x}" in page.locator("dialog dl").inner_text()


def test_cells_are_filtered_and_sorted(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        said = ready(page).locator("#count")
        assert said.inner_text() == "82 of 82 cells"
        page.select_option("select[name=solver]", "gurobi")
        page.select_option("select[name=epsilon]", "0.01")
        assert said.inner_text() == "8 of 82 cells"
        page.fill("#filters input", "verified")
        page.locator("table.cells").get_by_role("button", name="time", exact=True).click()
        page.locator("table.cells").get_by_role("button", name="time", exact=True).click()
        assert "image 7" in page.locator("table.cells tbody tr").first.inner_text()
        page.fill("#filters input", "nothing of this kind")
        assert said.inner_text() == "0 of 82 cells"


def test_what_went_wrong_comes_first_and_cells_come_in_pages(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        lines = ready(page).locator("table.cells tbody tr")
        assert lines.count() == 50
        assert "failed" in lines.first.inner_text()
        page.click("#next")
        assert lines.count() == 32
        assert page.locator("#next").is_disabled()


def test_tables_are_filtered_and_sorted(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        ready(page)
        table = page.locator("table.data", has=page.locator("caption", has_text="Verdicts")).first
        header = table.locator("thead th").last
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == "ascending"
        values = table.locator("tbody td:last-child").evaluate_all("all => all.map(each => each.dataset.v)")
        seen = [float(value) for value in values if value is not None]
        assert len(seen) > 2
        assert seen == sorted(seen)


def test_a_cell_opens_on_its_row_its_log_and_its_command(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        ready(page)
        page.fill("#filters input", "verified")
        page.locator("table.cells .link").first.focus()
        page.keyboard.press("Enter")
        cell = page.locator("dialog[open]")
        cell.locator("pre.row").wait_for()
        assert '"network_digest": "d1"' in cell.locator("pre.row").inner_text()
        command = cell.locator("pre.command").inner_text()
        assert command.startswith("relubench verify mnist_small --image 0 --epsilon 0.01 --method lp")
        assert cell.locator("pre.log").inner_text() == LOG.strip()
        address = page.url
        assert "#cell=" in address
        page.keyboard.press("Escape")
        assert not page.locator("dialog[open]").count()
        page.goto("about:blank")
        page.goto(address)
        page.locator("dialog[open] pre.row").wait_for()


def test_texts_of_rows_stay_texts(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        ready(page).locator("table.cells .link").first.click()
        page.locator("dialog[open] pre.row").wait_for()
        assert HOSTILE in page.locator("dialog dl").inner_text()
        assert page.evaluate("window.broken") is None
        assert page.locator("img[src=x]").count() == 0


def test_on_paper_there_are_figures_and_tables_and_no_controls(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, scheme="dark") as page:
        ready(page).emulate_media(media="print")
        for selector in ("#filters", "#cells", "nav", ".tools"):
            assert not page.locator(selector).first.is_visible()
        assert page.locator("table.data caption").first.is_visible()
        assert brightness(page.evaluate("getComputedStyle(document.body).backgroundColor")) == 3 * 255
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_it_is_readable_without_scripts(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file, PHONE, java_script_enabled=False) as page:
        assert page.locator("#figure-points img").is_visible()
        assert page.locator("table.data caption").first.is_visible()
        assert page.get_by_text("needs JavaScript").is_visible()


def test_it_is_made_for_readers_who_hear_it_or_use_a_keyboard(browser: Browser, page_file: Path) -> None:
    with opened(browser, page_file) as page:
        ready(page)
        assert page.locator("html").get_attribute("lang") == "en"
        levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(each => Number(each.tagName[1]))")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        for figure in page.locator("figure .canvas").all():
            assert figure.get_attribute("aria-label")
            assert page.locator(f"#{figure.get_attribute('aria-describedby')}").text_content()
        tables = page.locator("table").all()
        assert all(table.locator("caption").count() == 1 for table in tables)
        assert page.locator("th:not([scope])").count() == 0
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the results"


def test_nothing_in_the_page_is_elsewhere(page_file: Path) -> None:
    text = re.sub(r"(<script[^>]*>).*?</script>", r"\1</script>", page_file.read_text(), flags=re.DOTALL)
    assert re.findall(r"<(?:script|img|link|iframe)[^>]*\s(?:src|href)=\"(?!data:)", text) == []
    assert "default-src 'none'" in text
    assert text.count("</script>") == text.count("<script")


def test_a_table_that_is_too_long_is_cut_and_says_so(tmp_path: Path) -> None:
    long = Table("Long", pd.DataFrame({"n": range(5000)}), {"n": count})
    run = load_run(write_run(tmp_path / "run", [verify_row()]))
    write_report(run, Content("Long", (Section("Long", (long,)),)), tmp_path / "out", ["html"])
    text = (tmp_path / "out" / "report.html").read_text()
    assert "The first 300 of 5,000 lines; report.md has all." in text
    assert 'data-v="299.0"' in text
    assert 'data-v="300.0"' not in text


def test_a_header_that_is_repeated_on_paper_has_its_words(browser: Browser, page_file: Path) -> None:
    """Chromium repeats of a header what is text, and leaves a box that stands in it empty."""
    with opened(browser, page_file) as page:
        ready(page)
        button = page.locator("thead button").first
        shown = "each => getComputedStyle(each).display"
        assert button.evaluate(shown) == "inline-flex"
        page.emulate_media(media="print")
        assert button.evaluate(shown) == "contents"


def test_a_bound_that_was_to_show_a_sign_is_shown_as_one(browser: Browser, tmp_path: Path) -> None:
    threshold = {"lower": [2.3e-5, 2.3e-5], "certified": [None, 3.5]}
    rows = [verify_row(goal=goal, verdict="verified", **threshold) for goal in ("verdict", "margin")]
    run = load_run(write_run(tmp_path / "run", rows))
    write_report(run, Content("Bounds", ()), tmp_path / "out", ["html"])
    with opened(browser, tmp_path / "out" / "report.html") as page:
        ready(page)
        found = []
        for line in page.locator("table.cells tbody tr").all():
            line.locator("button").click()
            page.wait_for_selector("#cell[open]")
            found.append(page.locator("#cell table tbody td:nth-child(2)").all_inner_texts())
            page.keyboard.press("Escape")
        assert sorted(found) == [["0.000023", "3.5"], ["> 0", "> 0"]]
