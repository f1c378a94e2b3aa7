"""Files that once ended badly, or that look as if they could: each ends as this table says."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.made_rows import verify_row
from tests.conftest import random_network
from tests.fuzz.conftest import Workplace

CORPUS = Path(__file__).parent / "corpus"
NO_NUMBERS, NO_STATE, NO_LIST = "not a .npy file of numbers", "no state dict", "cannot be read as a layer list"
NO_MANIFEST, NOT_THERE = "not the manifest of a run", "is neither a file nor in the zoo"
TORN = "rows.jsonl: no complete row; expected one at least"  # no JSON at all: what a crash leaves
FINE = ""  # a result, and no error
# For each file what its one line of error has in it.
ENDS = {
    "arrays": {
        "bare_pickle.npy": NO_NUMBERS,
        "complex.npy": "its values are complex128; expected real numbers",
        "declared_terabyte.npy": "(1000000000000,), which is not what 0 bytes hold",
        "deep_header.npy": NO_NUMBERS,
        "empty.npy": NO_NUMBERS,
        "negative_shape.npy": "(-1, 28, 28), which is not what 100 bytes hold",
        "pickled_object.npy": "its values are object; expected real numbers",
        "torn.npy": NO_NUMBERS,
        "unary_header.npy": NO_NUMBERS,
        "unclosed_header.npy": NO_NUMBERS,
        "version_9.npy": "format version (9, 0)",
    },
    "layer_lists": {
        "bfloat16.safetensors": NO_LIST,
        "declared_header_of_an_exabyte.safetensors": NO_LIST,
        "declared_shape_of_a_terabyte.safetensors": NO_LIST,
        "deep_kind.safetensors": "layer 0 is {'kind': [[[[...]]]]}; expected an object",
        "deep_structure.safetensors": "its structure is not JSON",
        "empty.safetensors": NO_LIST,
        "input_of_10_to_the_18.safetensors": "input_shape is [1000000000000000000]; expected whole numbers from 1 to",
        "nan_in_its_structure.safetensors": "input_shape is [1, nan, nan]; expected whole numbers",
        "no_layers.safetensors": "no layer has the tensors",
        "offsets_beyond_the_file.safetensors": NO_LIST,
        "overlapping_offsets.safetensors": NO_LIST,
        "padding_without_measure.safetensors": "layer 0: has 125,004,000,032 outputs; expected at most 10,000,000",
        "sizes_of_4000_digits.safetensors": "input_shape is [an integer of 13,288 bits, 2]; expected",
    },
    "manifests": {
        "commit_is_a_list.json": NO_MANIFEST,
        "deep.json": f"{NO_MANIFEST}: not JSON (nested too deeply)",
        "list.json": NO_MANIFEST,
        "lone_surrogate.json": f"{NO_MANIFEST}: not JSON",
        "nan.json": f"{NO_MANIFEST}: not JSON (the number NaN is not finite",
        "start_is_a_number.json": NO_MANIFEST,
        "suite_is_text.json": NO_MANIFEST,
        "versions_is_text.json": NO_MANIFEST,
    },
    "rows": {
        "beyond_double.jsonl": "line 1: not JSON (the number 1e400 is not finite",
        "deep.jsonl": TORN,
        "duplicate_keys.jsonl": FINE,  # the last one counts, as in all of Python's JSON
        "empty_object.jsonl": "line 1: cell: field required",
        "future_schema.jsonl": FINE,
        "huge_numbers.jsonl": FINE,
        "image_of_30_digits.jsonl": "line 1: not JSON (the integer 1000000000000000000000000 does not fit into 53 bits",
        "infinity.jsonl": "line 1: not JSON (the number Infinity is not finite",
        "integer_of_5000_digits.jsonl": TORN,
        "kind_of_no_kind.jsonl": "line 1: kind is 'proof'; expected one of verify, attack",
        "lists_of_unequal_length.jsonl": "line 1: targets, lower and upper have 1, 2 and 2 entries",
        "lone_surrogate.jsonl": "line 1: not JSON",
        "markup.jsonl": FINE,
        "nan.jsonl": "line 1: not JSON (the number NaN is not finite",
        "no_object.jsonl": "line 1: expected a JSON object, found list",
        "not_utf_8.jsonl": TORN,
        "nul_bytes.jsonl": TORN,
        "surrogate_in_a_key.jsonl": "line 1: not JSON",
        "text_of_30_digits.jsonl": "line 1: image: expected `int | null`, got `str`",
        "verdict_of_no_kind.jsonl": "line 1: verdict is 'proved'; expected one of verified, falsified, unknown",
    },
    "state_dicts": {
        "another_network.pt": "no state dict of mnist_small",
        "complex.pt": NO_STATE,
        "compressed_to_a_thousandth.pt": "whose record 'archive/data.pkl' is compressed",
        "empty.pt": NO_STATE,
        "metadata_is_a_list.pt": "no state dict of mnist_small",
        "older_format_that_opens_a_file.pt": NO_STATE,
        "pickle_that_evaluates.pt": NO_STATE,
        "pickle_that_runs_a_command.pt": NO_STATE,
        "torch_archive_that_runs_a_command.pt": NO_STATE,
        "torn.pt": NO_STATE,
        "whole_module.pt": NO_STATE,
    },
    "suites": {
        "a_million_million_cells.toml": "comes to 1,000,000,000,000 cells; expected at most 100,000",
        "date_for_a_number.toml": "key verify[0].images is datetime.date(1979, 5, 27): expected how many images",
        "deep_array.toml": "not valid TOML",
        "deep_dotted_key.toml": "key name is missing",
        "duplicate_key.toml": "not valid TOML: Cannot overwrite a value",
        "empty.toml": "key name is missing",
        "epsilon_of_401_digits.toml": "key verify[0].epsilons[0] is 1000000",
        "hexadecimal_of_5000_digits.toml": "key repeats is an integer of 20,000 bits: expected",
        "huge_epsilon.toml": FINE,
        "huge_image_index.toml": "test image index 1000000000000000 is out of range; expected 0 to 9999",
        "images_beyond_the_set.toml": "test image index 10000 is out of range; expected 0 to 9999",
        "infinite_epsilon.toml": "key verify[0].epsilons[0] is inf: expected a finite number",
        "integer_of_5000_digits.toml": "not valid TOML",
        "name_leaves_the_folder.toml": "key name is '../../escaped': expected letters",
        "nan_epsilon.toml": "key verify[0].epsilons[0] is nan: expected a finite number",
        "network_is_a_device.toml": f"network '/dev/zero' {NOT_THERE}",
        "network_with_nul.toml": f"network 'a\\x00b' {NOT_THERE}",
        "nul_bytes.toml": "not valid TOML",
        "steps_without_end.toml": "key attack[0].steps is 1000000000000000000: expected at most 1000000",
        "terminal_escape.toml": f"network '\\x1b[2J\\nrelubench: error: two' {NOT_THERE}",
        "threads_without_end.toml": "key threads is 1000000000: expected at most 1024",
        "utf_16.toml": "not in UTF-8, as TOML must be: 'utf-8' codec can't decode",
    },
}


def _rows(file: Path) -> list[object]:
    Path("run").mkdir()
    shutil.copy(file, "run/rows.jsonl")
    return ["report", "run"]


def _manifest(file: Path) -> list[object]:
    Path("run").mkdir()
    Path("run/rows.jsonl").write_text(verify_row().to_json() + "\n", encoding="utf-8")
    shutil.copy(file, "run/manifest.json")
    return ["report", "run"]


def _array(file: Path) -> list[object]:
    random_network(seed=0).save("tiny.safetensors")
    return ["verify", "tiny.safetensors", "-e", 0.1, "-m", "interval", "--input", file, "--label", 1]


COMMANDS: dict[str, Callable[[Path], list[object]]] = {
    "arrays": _array,
    "layer_lists": lambda file: ["networks", file],
    "manifests": _manifest,
    "rows": _rows,
    "state_dicts": lambda file: ["export", file, "out.safetensors", "--architecture", "mnist_small"],
    "suites": lambda file: ["run", file],
}
CASES = [(kind, name, end) for kind, ends in ENDS.items() for name, end in ends.items()]


@pytest.mark.parametrize(("kind", "name", "end"), CASES, ids=[f"{kind}/{name}" for kind, name, _ in CASES])
def test_each_file_of_the_corpus_ends_as_it_must(kind: str, name: str, end: str, workplace: Workplace) -> None:
    ended = workplace.run(*COMMANDS[kind](CORPUS / kind / name))
    assert ended.code == (2 if end else 0)
    assert end in ended.err
    assert not Path("canary").exists()  # what the pickles among them would make


def test_the_pickles_of_the_corpus_are_malicious(workplace: Workplace) -> None:
    pickle.loads((CORPUS / "state_dicts" / "pickle_that_runs_a_command.pt").read_bytes())
    assert Path("canary").exists()


def test_every_file_of_the_corpus_is_in_the_table() -> None:
    assert {kind: sorted(ends) for kind, ends in ENDS.items()} == {
        folder.name: sorted(file.name for file in folder.iterdir()) for folder in CORPUS.iterdir()
    }
