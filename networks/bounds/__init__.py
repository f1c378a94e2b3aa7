"""Bounds on every neuron of a network over a box of inputs, cheapest first."""
