"""Suite files: what is refused, with which words, and what the others expand to."""

from __future__ import annotations

import codecs
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from bench import suite as suites
from bench.methods import attacks
from bench.plan import make_plan
from bench.suite import Cell, Suite, expand, load_suite, shipped
from networks.errors import InputError, SuiteError
from tests.bench.suites import write_suite

VERIFY = """
[[verify]]
networks = ["mnist_small"]
images = [0]
epsilons = [0.1]
methods = ["lp"]
"""
ATTACK = """
[[attack]]
networks = ["mnist_small"]
images = 10
epsilons = [0.1]
methods = ["fgsm"]
"""
IMAGES = "how many images, from the first on, or a list of one or more indices"
CLIP = "two finite numbers, the lower first, or false"

# A line in the place of another of VERIFY or ATTACK, or after it; then what the message says of it.
BAD_TABLES = [
    (VERIFY, "networks = []", "key verify[0].networks is []: expected a list of one or more"),
    (VERIFY, "images = []", f"key verify[0].images is []: expected {IMAGES}"),
    (VERIFY, "images = 0", f"key verify[0].images is 0: expected {IMAGES}"),
    (VERIFY, "images = [-1]", f"key verify[0].images is [-1]: expected {IMAGES}"),
    (VERIFY, 'images = "all"', f"key verify[0].images is 'all': expected {IMAGES}"),
    (VERIFY, "images = true", f"key verify[0].images is True: expected {IMAGES}"),
    (VERIFY, "images = 1.5", f"key verify[0].images is 1.5: expected {IMAGES}"),
    (VERIFY, "epsilons = []", "key verify[0].epsilons is []: expected a list of one or more"),
    (VERIFY, "epsilons = 0.1", "key verify[0].epsilons is 0.1: expected a list"),
    (VERIFY, "epsilons = [0.1, nan]", "key verify[0].epsilons[1] is nan: expected a finite number"),
    (VERIFY, "epsilons = [inf]", "key verify[0].epsilons[0] is inf: expected a finite number"),
    (VERIFY, "epsilons = [-0.1]", "key verify[0].epsilons[0] is -0.1: expected at least 0"),
    (VERIFY, 'epsilons = ["0.1"]', "key verify[0].epsilons[0] is '0.1': expected a number, or a fraction"),
    (VERIFY, 'methods = ["lpp"]', "key verify[0].methods[0] is 'lpp': expected 'interval', 'linear', "),
    (VERIFY, 'formulations = ["big"]', "key verify[0].formulations[0] is 'big': expected 'compact' or 'textbook'"),
    (VERIFY, "solvers = []", "key verify[0].solvers is []: expected a list of one or more"),
    (VERIFY, 'solver = "highs"', "key verify[0].solver is 'highs': unknown key; expected one of networks, images"),
    (VERIFY, "clip = [1, 0]", f"key verify[0].clip is [1, 0]: expected {CLIP}"),
    (VERIFY, "clip = [1, 1]", f"key verify[0].clip is [1, 1]: expected {CLIP}"),
    (VERIFY, "clip = [0, inf]", f"key verify[0].clip is [0, inf]: expected {CLIP}"),
    (VERIFY, "clip = [0, nan]", f"key verify[0].clip is [0, nan]: expected {CLIP}"),
    (VERIFY, "clip = [0]", f"key verify[0].clip is [0]: expected {CLIP}"),
    (VERIFY, "clip = true", f"key verify[0].clip is True: expected {CLIP}"),
    (VERIFY, "time_limit_s = 0", "key verify[0].time_limit_s is 0: expected greater than 0"),
    (VERIFY, "time_limit_s = nan", "key verify[0].time_limit_s is nan: expected a finite number"),
    (ATTACK, "images = [0]", "key attack[0].images is [0]: expected a valid integer"),
    (ATTACK, 'methods = ["cw"]', "key attack[0].methods[0] is 'cw': expected 'fgsm', 'pgd', 'pgd_linf'"),
    (ATTACK, 'solvers = ["highs"]', "key attack[0].solvers is ['highs']: unknown key; expected one of networks"),
    (ATTACK, "steps = 0", "key attack[0].steps is 0: expected at least 1"),
    (ATTACK, "step = nan", "key attack[0].step is nan: expected a finite number"),
    (ATTACK, "target = -1", "key attack[0].target is -1: expected at least 0"),
    (ATTACK, 'device = "tpu"', "key attack[0].device is 'tpu': expected 'auto', 'cpu' or 'cuda'"),
]
BAD_FILES = [
    (f"{VERIFY}", "key name is missing"),
    (f'name = ""\n{VERIFY}', "key name is '': expected letters, digits, '.', '_' and '-'"),
    (f'name = "../up"\n{VERIFY}', "key name is '../up': expected letters, digits"),
    (f'name = "x"\nsolver = "highs"\n{VERIFY}', "key solver is 'highs': unknown key; expected one of name, descr"),
    (f'name = "x"\nthreads = 0\n{VERIFY}', "key threads is 0: expected at least 1"),
    (f'name = "x"\nseeds = []\n{VERIFY}', "key seeds is []: expected a list of one or more"),
    (f'name = "x"\nseeds = [-1]\n{VERIFY}', "key seeds[0] is -1: expected at least 0"),
    (f'name = "x"\nseeds = [2147483648]\n{VERIFY}', "key seeds[0] is 2147483648: expected less than 2147483648"),
    (f'name = "x"\nrepeats = 0\n{VERIFY}', "key repeats is 0: expected at least 1"),
    (f'name = "x"\nrepeats = 0\nthreads = 0\n{VERIFY}', "key threads is 0: expected at least 1 (and 1 more)"),
    ('name = "x"\nverify = 3', "key verify is 3: expected a list"),
    ('name = "x"\nverify = [3]', "key verify[0] is 3: expected a table"),
    ('name = "x"\n[[verify]]\nimages = 1', "key verify[0].networks is missing (and 2 more)"),
    ('name = "x"', "it measures nothing; expected a [[verify]] or an [[attack]] table"),
    ('name = "x', "not valid TOML: "),
]


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path


def with_line(table: str, line: str) -> str:
    """A suite of one table in which `line` takes the place of its key's line, or stands behind the others."""
    key = line.split(" = ", maxsplit=1)[0]
    kept = [other for other in table.strip().splitlines() if not other.startswith(f"{key} = ")]
    return "\n".join(['name = "x"', *kept, line])


@pytest.mark.parametrize(("table", "line", "message"), BAD_TABLES)
def test_a_bad_value_of_a_table_is_refused_by_name(table: str, line: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, with_line(table, line))
    with pytest.raises(SuiteError) as refused:
        load_suite(path)
    assert str(refused.value).startswith(f"suite {path}: {message}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_refused_by_name(text: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SuiteError) as refused:
        load_suite(path)
    assert str(refused.value).startswith(f"suite {path}: {message}")
    assert "\n" not in str(refused.value)


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SuiteError, match="'nosuch' is neither a file nor one of attacks, chapter, ci, quick, solvers"):
        load_suite("nosuch")


def test_a_folder_and_a_file_that_is_no_text_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    for path, why in ((tmp_path, "cannot be read: "), (binary, "not in UTF-8, as TOML must be: ")):
        with pytest.raises(SuiteError, match=f"suite {path}: {why}"):
            load_suite(path)


def test_the_shipped_suites_are_these() -> None:
    assert list(shipped()) == ["attacks", "chapter", "ci", "quick", "solvers", "switches", "verdicts"]


@pytest.mark.parametrize("name", list(shipped()))
def test_a_shipped_suite_bears_its_files_name_and_expands_to_distinct_cells(name: str) -> None:
    suite = load_suite(name)
    cells = expand(suite)
    assert suite.name == name
    assert suite.description
    assert cells
    assert len({cell.digest() + cell.network for cell in cells}) == len(cells)


def test_every_combination_of_a_verify_table_is_one_cell(tmp_path: Path) -> None:
    text = (
        'name = "x"\nseeds = [0, 1]\nthreads = 2\ntime_limit_s = 5\n[[verify]]\nnetworks = ["a", "b"]\nimages = 3\n'
        'epsilons = [0.1, 0.2]\nmethods = ["lp", "milp"]\nsolvers = ["highs", "cbc"]\n'
        'formulations = ["compact", "textbook"]'
    )
    cells = expand(load_suite(write(tmp_path, text)))
    assert len(cells) == 2 * 3 * 2 * 2 * 2 * 2 * 2
    assert len(set(cells)) == len(cells)
    assert {cell.image for cell in cells} == {0, 1, 2}
    assert {(cell.threads, cell.time_limit_s, cell.clip) for cell in cells} == {(2, 5.0, (0.0, 1.0))}


def test_interval_bounds_are_one_cell_whatever_the_solvers_and_seeds(tmp_path: Path) -> None:
    text = f'name = "x"\nseeds = [0, 1]\n{VERIFY}solvers = ["highs", "cbc"]'.replace('"lp"', '"interval"')
    (cell,) = expand(load_suite(write(tmp_path, text)))
    assert (cell.method, cell.solver, cell.formulation) == ("interval", None, None)


def test_fgsm_is_one_cell_without_steps_and_pgd_has_them(tmp_path: Path) -> None:
    text = 'name = "x"\n' + ATTACK.replace('"fgsm"', '"fgsm", "pgd_l2"') + "steps = 7\nstep = 0.5\nrestarts = 3"
    fgsm, pgd = expand(load_suite(write(tmp_path, text)))
    assert (fgsm.steps, fgsm.step, fgsm.restarts, fgsm.norm) == (None, None, None, "linf")
    assert (pgd.steps, pgd.step, pgd.restarts, pgd.norm) == (7, 0.5, 3, "l2")


def test_what_is_named_twice_is_measured_once(tmp_path: Path) -> None:
    twice = VERIFY.replace("[0]", "[0, 0]").replace("[0.1]", "[0.1, 0.10]") + VERIFY
    assert len(expand(load_suite(write(tmp_path, f'name = "x"\n{twice}')))) == 1


def test_repeats_are_cells_of_their_own(tmp_path: Path) -> None:
    cells = expand(load_suite(write(tmp_path, f'name = "x"\nrepeats = 3\n{VERIFY}')))
    assert [cell.repeat for cell in cells] == [0, 1, 2]


def test_whole_numbers_and_their_floats_are_the_same_cell(tmp_path: Path) -> None:
    def digest(epsilon: str, clip: str) -> str:
        text = f'name = "x"\n{VERIFY}clip = {clip}'.replace("[0.1]", f"[{epsilon}]")
        (cell,) = expand(load_suite(write(tmp_path, text)))
        return cell.digest()

    assert digest("1", "[0, 1]") == digest("1.0", "[0.0, 1.0]")
    assert digest("1", "[0, 1]") != digest("1", "false")


def test_the_digest_follows_every_setting_and_content_but_not_the_networks_name() -> None:
    cell = Cell(kind="verify", network="a", image=0, epsilon=0.1, method="lp", solver="highs")
    others = [
        replace(cell, epsilon=0.2),
        replace(cell, image=1),
        replace(cell, solver="cbc"),
        replace(cell, time_limit_s=1.0),
        replace(cell, seed=1),
    ]
    digests = {cell.digest("network", "images"), *(other.digest("network", "images") for other in others)}
    assert len(digests) == 1 + len(others)
    assert cell.digest("network", "images") != cell.digest("other network", "images")
    assert cell.digest("network", "images") == replace(cell, network="b").digest("network", "images")


def test_a_suite_is_frozen() -> None:
    suite = load_suite("quick")
    assert isinstance(suite, Suite)
    with pytest.raises(ValueError, match="frozen"):
        suite.name = "other"


def test_suites_know_every_attack() -> None:
    assert get_args(suites.ATTACKS) == tuple(attacks.METHODS)
    assert {name: suites.NORMS.get(name, "linf") for name in attacks.METHODS} == {
        name: method.norm for name, method in attacks.METHODS.items()
    }


def test_a_suite_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    plain = write_suite(tmp_path, "mnist_small").read_bytes()
    (tmp_path / "marked.toml").write_bytes(codecs.BOM_UTF8 + plain)
    assert load_suite(tmp_path / "marked.toml") == load_suite(tmp_path / "suite.toml")
    (tmp_path / "wide.toml").write_bytes(plain.decode().encode("utf-16"))
    with pytest.raises(SuiteError, match="not in UTF-8, as TOML must be"):
        load_suite(tmp_path / "wide.toml")


def test_a_variant_that_lacks_something_is_named_in_full(tmp_path: Path) -> None:
    suite = load_suite(write_suite(tmp_path, "mnist_small", methods=["milp"], solvers=["cvxpy:OSQP"]))
    with pytest.raises(InputError, match=r"solver cvxpy:OSQP has no MILPs; `relubench solvers` lists"):
        make_plan(suite)
