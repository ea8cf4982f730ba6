"""`skybus cluster-config`: the files of an instrument whose servers stand on three machines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skybus.bus.errors import SkybusError
from skybus.bus.settings import DEFAULT_INSTRUMENT
from skybus.cli.refusal import refuse
from skybus.stack.cluster import HOME, Machine, write_cluster


def cluster_config(
    folder: Annotated[Path, typer.Argument(help="A new folder, in which each machine gets one of its own.")],
    hosts: Annotated[
        str,
        typer.Option(help="Three or five machines, with commas between: names or addresses that all of them know."),
    ],
    instrument: Annotated[
        str, typer.Option(help="Name of the instrument, part of every subject.")
    ] = DEFAULT_INSTRUMENT,
    home: Annotated[Path, typer.Option(help="Where a machine's folder will lie on that machine.")] = HOME,
) -> None:
    """Write the configuration of NATS, Valkey and Sentinel on three machines, with new credentials and passwords.

    Each machine gets a folder: nats/nats.conf, valkey/valkey.conf, sentinel/sentinel.conf, the settings of the
    services (skybus.env, queue.env) and the credentials of all users. Copy it to the machine as /var/lib/skybus;
    deploy/README.md goes on from there. Nothing is started. No folder is written twice: servers keep their state in it.
    """
    machines = [Machine(host.strip(), home=home) for host in hosts.split(",") if host.strip()]
    try:
        places = write_cluster(folder, instrument, machines)
    except SkybusError as error:
        refuse("cluster-config", error.message)
    for machine, place in zip(machines, places, strict=True):
        typer.echo(f"{place}  ->  {machine.host}:{home}")
