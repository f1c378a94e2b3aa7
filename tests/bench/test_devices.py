import pytest
import torch

from bench.devices import device_name, libraries, resolve_device, threads_of_libraries
from networks.errors import InputError

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU")
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="torch finds a CUDA GPU")


def test_cpu_is_the_cpu() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert device_name(resolve_device("cpu")) == "cpu"


def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_unknown_device_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"^device is 'tpu'; expected one of auto, cpu, cuda$"):
        resolve_device("tpu")


@needs_no_gpu
def test_cuda_without_a_gpu_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^device is 'cuda', but torch finds no CUDA GPU here; use 'cpu' or 'auto'$"):
        resolve_device("cuda")


@needs_gpu
def test_a_gpu_has_its_own_name() -> None:
    assert device_name(resolve_device("cuda")) == torch.cuda.get_device_name()


def test_devices_of_torch_and_a_gpu_by_its_number_are_taken() -> None:
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    for device in ("cuda:0", torch.device("cuda", 0)):
        if torch.cuda.is_available():
            assert resolve_device(device) == torch.device("cuda:0")
        else:
            with pytest.raises(InputError, match="device is 'cuda:0', but torch finds no CUDA GPU"):
                resolve_device(device)


def test_a_verification_computes_with_the_threads_that_it_was_told() -> None:
    """numpy's BLAS too, which else takes every core and waits for those that others use."""
    before = blas_threads()
    with threads_of_libraries(1):
        assert torch.get_num_threads() == 1
        assert {*blas_threads()} == {1}
    assert blas_threads() == before


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in libraries().info() if library["user_api"] == "blas"]
