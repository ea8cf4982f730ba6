"""Sockets lie where no other account reaches, and their paths are short, whatever the data directory is called."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
import zmq

from skybus.bridge.binding import bind
from skybus.bus.errors import InvalidError, UnavailableError
from skybus.stack import datadir
from skybus.stack.addresses import require_free


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def long_path(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory below which no socket could be, and an empty folder for temporary files."""
    (data_dir / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(data_dir / "tmp"))
    return data_dir / ("å" * 45)


def sockets_of(path: Path) -> Path:
    held = datadir.take(path)
    held.release()
    return held.sockets


def test_the_sockets_of_a_long_data_directory_lie_in_a_private_folder_with_a_short_name(long_path: Path):
    sockets = sockets_of(long_path)
    assert sockets.parent == Path(tempfile.gettempdir())
    assert mode(sockets) == 0o700
    with zmq.Context() as context, context.socket(zmq.ROUTER) as sock:
        bind(sock, f"ipc://{sockets}/zmq-control.sock", "control", 0o600)


def test_a_folder_of_sockets_that_others_could_reach_is_closed(data_dir: Path):
    (data_dir / "run").mkdir(mode=0o777)
    (data_dir / "run").chmod(0o777)
    assert mode(sockets_of(data_dir)) == 0o700


def test_what_somebody_else_has_put_where_the_sockets_belong_is_not_used(long_path: Path, tmp_path: Path):
    sockets = sockets_of(long_path)
    sockets.rmdir()
    sockets.symlink_to(tmp_path)
    with pytest.raises(UnavailableError, match="is not a folder of this account"):
        datadir.take(long_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another account")
def test_a_folder_of_another_account_is_not_used(long_path: Path):
    sockets = sockets_of(long_path)
    os.chown(sockets, 65534, 65534)
    with pytest.raises(UnavailableError, match="is not a folder of this account"):
        datadir.take(long_path)


def test_a_folder_for_temporary_files_with_a_long_name_is_named(long_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tempfile, "tempdir", str(long_path.parent / ("t" * 100)))
    with pytest.raises(UnavailableError, match="too long for unix sockets: set TMPDIR"):
        datadir.take(long_path)


def test_an_address_that_no_unix_socket_can_have_is_refused_with_its_length():
    with pytest.raises(InvalidError, match="the path has 108 bytes, a unix socket has 107 at most"):
        require_free("ipc://" + "/" * 108)


@pytest.mark.parametrize(("asked", "made"), [(0o600, 0o600), (0o660, 0o660), (None, 0o750)])
def test_a_socket_file_has_the_mode_that_was_asked_for_or_what_the_umask_leaves(
    data_dir: Path, asked: int | None, made: int
):
    before = os.umask(0o027)
    try:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as sock:
            bind(sock, f"ipc://{data_dir}/control", "control", asked)
            assert mode(data_dir / "control") == made
    finally:
        assert os.umask(before) == 0o027
