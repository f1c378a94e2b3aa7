"""`relubench networks`, `solvers` and `suites`: what there is."""

from __future__ import annotations

import json as json_format
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.commands.conformance import check_solver
from bench.commands.options import Json
from bench.console import console

if TYPE_CHECKING:
    from solvers.backend import Backend

FORMATS: dict[type, str] = {int: "{:,}", float: "{:.4f}"}
# A capability's name for the reader, where it is not the attribute's.
CAPABILITY_WORDS = {"mip": "MIP", "stop": "stop at a bound", "start": "MIP start", "sos1": "SOS1", "ray": "Farkas ray"}


def networks(
    name: Annotated[str | None, typer.Argument(help="Show this network's layers: a zoo name or a file.")] = None,
    json: Json = False,
) -> None:
    """List the zoo, or show one network's layers.

    Examples: relubench networks; relubench networks mnist_cnn
    """
    from networks import zoo

    if name is not None:
        network = zoo.load_network(name)
        rows: list[dict[Any, Any]] = network.summary().to_dict("records")
        title = f"{name}: {network.neuron_count:,} ReLUs, digest {network.digest[:16]}"
    else:
        rows, title = [_describe(zoo_name) for zoo_name in zoo.NAMES], "The zoo"
    _print(rows, title, json=json)


def solvers(
    check: Annotated[
        str | None, typer.Option(metavar="NAME", help="Check this solver on tiny problems with known answers.")
    ] = None,
    json: Json = False,
) -> None:
    """List the solvers: installed or not, version, licence limits, what they can do. Or check one of them.

    If a check fails, the exit code is 3.

    Examples: relubench solvers; relubench solvers --check highs; relubench solvers --check cvxpy:CLARABEL
    """
    from solvers import registry

    if check is not None:
        check_solver(check, json=json)
        return
    _print([row for base in registry.names() for row in _solver_rows(base)], "Solvers", json=json)


def suites(json: Json = False) -> None:
    """List the suites that come with relubench.

    Example: relubench suites
    """
    from bench.suite import expand, load_suite, shipped

    rows = []
    for name in shipped():
        suite = load_suite(name)
        rows.append({"suite": name, "cells": len(expand(suite)), "description": suite.description})
    _print(rows, "Suites", json=json)


def _solver_rows(base: str) -> list[dict[str, Any]]:
    """A row for the back-end and one for each variant; for one that cannot be loaded, a row that says why."""
    from networks.errors import SolverError
    from solvers import registry

    try:
        found = registry.backend_class(base)
    except SolverError as error:
        return [{"solver": base, "version": str(error), "licence": "", "capabilities": ""}]
    variants = found.variants() if found.installed() else []
    return [_describe_solver(name, found) for name in (base, *(f"{base}:{variant}" for variant in variants))]


def _describe_solver(name: str, found: type[Backend]) -> dict[str, Any]:
    from solvers import registry

    backend = registry.get(name) if found.installed() else None
    able = [key for key, value in asdict(backend.capabilities).items() if value] if backend else []
    return {
        "solver": name,
        "version": backend.version() if backend else f"not installed: {found.install}",
        "licence": found.licence,
        "capabilities": ", ".join(CAPABILITY_WORDS.get(word, word.replace("_", " ")) for word in able),
    }


def _describe(name: str) -> dict[str, Any]:
    from networks import zoo

    network = zoo.load(name)
    parameters = int(network.summary()["parameters"].sum())
    return {
        "network": name,
        "layers": len(network.layers),
        "ReLUs": network.neuron_count,
        "parameters": parameters,
        "test error": zoo.TEST_ERROR[name],
        "digest": network.digest[:16],
    }


def _print(rows: list[dict[Any, Any]], title: str, *, json: bool) -> None:
    if json:
        print(json_format.dumps(rows))
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for key, value in rows[0].items():
        table.add_column(key, justify="left" if isinstance(value, str) else "right", overflow="fold")
    for row in rows:
        table.add_row(*(FORMATS.get(type(value), "{}").format(value) for value in row.values()))
    console.print(table)
