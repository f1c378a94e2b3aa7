"""The figures of a report, as Altair charts with their numbers in words beside them."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report.figures.anytime import anytime_figure
from bench.report.figures.brackets import bracket_figure
from bench.report.figures.costs import tightness_figure
from bench.report.figures.duels import scatter_figure
from bench.report.figures.fractions import fractions_figure
from bench.report.figures.races import cactus_figure, profile_figure
from bench.report.figures.theme import MOST
from bench.report.frame import Run
from bench.report.headline import best_setups
from bench.report.networks import Network, networks_of
from bench.report.render import Figure, Section

MOST_POINTS, FEWEST_POINTS = 2_000, 200  # of a figure
ALL_POINTS = 15_000  # of all figures together, by which a page stays small: a point takes some 250 bytes
A_NETWORK = 13  # figures of it, where three solvers answer three methods


def figures_sections(run: Run) -> list[Section]:
    """One section of figures a network; empty where nothing was verified."""
    networks = networks_of(run)
    limit = max(FEWEST_POINTS, min(MOST_POINTS, ALL_POINTS // (A_NETWORK * max(len(networks), 1))))
    drawn = [(network.name, tuple(_figures(run, network, limit))) for network in networks]
    return [Section(f"{name}: figures", figures=figures) for name, figures in drawn if figures]


def _figures(run: Run, network: Network, limit: int) -> Iterator[Figure]:
    name, setups = network.name, network.setups
    best = best_setups(setups)[:MOST]
    yield fractions_figure(network, best)
    drawn = (
        bracket_figure(run, network),
        tightness_figure(network, best, run.rows, limit),
        anytime_figure(run, network, limit),
    )
    yield from (figure for figure in drawn if figure is not None)
    if len(best) > 1:
        yield cactus_figure(name, setups, run.rows, limit, best)
    for contest in network.solvers.values():
        yield cactus_figure(name, contest, run.rows, limit, contest.competitors[:MOST])
        yield profile_figure(name, contest, run.rows, limit)
        yield from _those(scatter_figure(name, contest, run.rows, limit))


def _those(*figures: Figure | None) -> Iterator[Figure]:
    """The figures that there is something to draw in."""
    return (figure for figure in figures if figure is not None)
