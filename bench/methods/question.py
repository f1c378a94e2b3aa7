"""What every method is given: the network in its two forms, and one instance."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.replay import into_box, signed_margins
from networks.instance import Instance
from networks.layers import Array, LayerList, read_only
from networks.lowering import BoundsPair, LoweredNetwork, lower

_lowered: weakref.WeakKeyDictionary[LayerList, LoweredNetwork] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One network and one instance.

    Attributes
    ----------
    network : LayerList
    lowered : LoweredNetwork
        Of `network`.
    instance : Instance
    """

    network: LayerList
    lowered: LoweredNetwork
    instance: Instance

    @classmethod
    def of(cls, network: LayerList, instance: Instance) -> Question:
        """The question with the network's lowering, which is made once."""
        if network not in _lowered:
            _lowered[network] = lower(network)
        return cls(network, _lowered[network], instance)

    @property
    def box(self) -> BoundsPair:
        """The input box, each side of shape (*input_shape)."""
        return self.instance.lower, self.instance.upper

    @property
    def target_count(self) -> int:
        """How many margins are asked."""
        return len(self.instance.targets)

    def restricted(self, targets: NDArray[np.intp]) -> Question:
        """The question about the targets at these positions only."""
        instance = self.instance
        chosen = tuple(instance.targets[index] for index in targets)
        return replace(self, instance=replace(instance, targets=chosen, margins=read_only(instance.margins[targets])))

    def margins_at(self, points: Array) -> Array:
        """The margins at points (m, inputs) moved inside the ball, in float64 with their exact signs; shape (m, k)."""
        labels = np.full(len(points), self.instance.label)
        margins = signed_margins(self.network, into_box(self.instance, points), labels)
        return np.asarray(margins[:, list(self.instance.targets)])
