"""`skybus zmq-keys`: keys for the encryption of the 0MQ control socket."""

from __future__ import annotations

from typing import Annotated

import typer
import zmq

from skybus.bus.errors import InvalidError
from skybus.cli.manager.settings import check_key
from skybus.cli.refusal import refuse


def zmq_keys(
    zmq_private_key: Annotated[
        str | None, typer.Option(help="Make no new pair, but find the public key of this private one.")
    ] = None,
) -> None:
    """Make a pair of keys for the 0MQ control socket, or find the public key of a private one."""
    if zmq_private_key is None:
        public, private = (key.decode() for key in zmq.curve_keypair())
    else:
        public, private = _public_key(zmq_private_key), zmq_private_key
    typer.echo(f" Private key (RE Manager):                 {private}")
    typer.echo(f" Public key (CLI client or HTTP server):   {public}")


def _public_key(private: str) -> str:
    try:
        check_key(private)
    except InvalidError as error:
        refuse("zmq-keys", error.message)
    return zmq.curve_public(private.encode()).decode()
