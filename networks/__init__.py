"""Networks: the layer list, its export from torch, its lowering, its bounds, the zoo and the data sets.

Nothing heavy is imported until it is used: torch only by what computes with it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from networks.bounds.interval import interval_bounds, interval_margins
    from networks.bounds.linear import linear_bounds, linear_margins
    from networks.errors import DataError, InputError, NetworkError, RelubenchError, UnsupportedLayerError
    from networks.instance import Instance, ball
    from networks.layers import Conv2d, Flatten, LayerList, Linear, ReLU
    from networks.lowering import LoweredNetwork, lower
    from networks.torch_io import Normalize, from_torch, load_state_dict
    from networks.zoo import load_network

_HOME = {
    "interval_bounds": "networks.bounds.interval",
    "interval_margins": "networks.bounds.interval",
    "linear_bounds": "networks.bounds.linear",
    "linear_margins": "networks.bounds.linear",
    "DataError": "networks.errors",
    "InputError": "networks.errors",
    "NetworkError": "networks.errors",
    "RelubenchError": "networks.errors",
    "UnsupportedLayerError": "networks.errors",
    "Instance": "networks.instance",
    "ball": "networks.instance",
    "Conv2d": "networks.layers",
    "Flatten": "networks.layers",
    "LayerList": "networks.layers",
    "Linear": "networks.layers",
    "ReLU": "networks.layers",
    "LoweredNetwork": "networks.lowering",
    "lower": "networks.lowering",
    "Normalize": "networks.torch_io",
    "from_torch": "networks.torch_io",
    "load_state_dict": "networks.torch_io",
    "load_network": "networks.zoo",
}

__all__ = [
    "Conv2d",
    "DataError",
    "Flatten",
    "InputError",
    "Instance",
    "LayerList",
    "Linear",
    "LoweredNetwork",
    "NetworkError",
    "Normalize",
    "ReLU",
    "RelubenchError",
    "UnsupportedLayerError",
    "ball",
    "from_torch",
    "interval_bounds",
    "interval_margins",
    "linear_bounds",
    "linear_margins",
    "load_network",
    "load_state_dict",
    "lower",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'networks' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
