"""The command line of `skybus re-manager`, made from the table of options.

It is read by argparse as the reference's is: a list of words behind one option, and options that may be shortened, are
not in click's grammar.
"""

from __future__ import annotations

import argparse
from typing import Any

from skybus.cli.manager.option import Kind, Option
from skybus.cli.manager.options import CONFIG, CONFIG_VARIABLE, EXCLUSIVE, OPTIONS, WORKER

_ON_OFF = ("ON", "OFF")
_USAGE = "%(prog)s [OPTIONS]"
_OLD = "old_"
_GONE = ("--kafka-topic", "--kafka-server", "--zmq-data-proxy-addr", "--databroker-config", "--use-persistent-metadata")
"""Options that the reference had before version 0.0.22."""
_ABOUT = """\
Start NATS, the services and the 0MQ sockets of the Queue Server, with the options, environment
variables and configuration files of start-re-manager 0.0.25; until Ctrl-C, SIGTERM or manager_stop.

What is given in several places is taken from the first of: the command line, the configuration
files, the environment, the default. Data lives where SKYBUS_DATA_DIR says, logs below it in logs/.

To encrypt the 0MQ control socket, make a pair of keys with `skybus zmq-keys` and set
QSERVER_ZMQ_PRIVATE_KEY_FOR_SERVER (or network/zmq_private_key in a configuration file) to the
private one; clients have the public one."""


def parse(words: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Read the command line: the values that it gives, by the names of options, and remarks to make about them.

    Raises:
        InvalidError: a value is not of the right kind.
        SystemExit: an option does not exist or misses its value, or `--help` was asked for.
    """
    parser = make_parser()
    given, unknown = parser.parse_known_args(words)
    if unknown:
        parser.error(_about_unknown(unknown))
    values: dict[str, Any] = {"config": given.config} if given.config else {}
    remarks = []
    for option in OPTIONS:
        old = getattr(given, _OLD + option.name, None)
        new = getattr(given, option.name, None)
        if old is not None:
            remarks.append(f"{option.old_flag} is deprecated: use {option.flags[0]}")
        value = old if new is None else new
        if value is not None:
            flag = option.flags[0]
            values[option.name] = option.from_text(value, flag) if isinstance(value, str) else option.check(value, flag)
    return values, remarks


def make_parser() -> argparse.ArgumentParser:
    """Make the parser."""
    parser = argparse.ArgumentParser("skybus re-manager", usage=_USAGE, description=_ABOUT, formatter_class=_formatter)
    parser.add_argument(
        CONFIG,
        metavar="PATH",
        help=f"A YAML file with settings, or a directory of several; {CONFIG_VARIABLE} is the variable.",
    )
    groups = {option.group: parser.add_argument_group(option.group) for option in OPTIONS if option.group}
    exclusive = {names: groups[WORKER].add_mutually_exclusive_group() for names in EXCLUSIVE}
    one_of = {name: group for names, group in exclusive.items() for name in names}
    for option in OPTIONS:
        _add(one_of.get(option.name) or groups.get(option.group) or parser, option)
    return parser


def _add(where: Any, option: Option) -> None:
    if len(option.constants) > 1:
        where = where.add_mutually_exclusive_group()
    for flag, value in option.constants.items():
        where.add_argument(flag, dest=option.name, action="store_const", const=value, help=_help(option, value))
    if option.constants or not option.flags:
        return
    form: dict[str, Any] = {"metavar": option.name.rpartition("_")[2].upper(), "default": None}
    if option.kind == Kind.YES_NO:
        form = {"choices": _ON_OFF}
    elif option.kind == Kind.WORDS:
        form["nargs"] = "+"
    elif option.choices and not option.ignores_case:
        form = {"choices": option.choices}
    where.add_argument(option.flags[0], dest=option.name, help=_help(option), **form)
    if option.old_flag:
        help_ = f"Deprecated: {option.flags[0]}."
        where.add_argument(option.old_flag, dest=_OLD + option.name, metavar="...", help=help_)


def _help(option: Option, constant: Any = None) -> str:
    text = option.help if constant in (None, True) else f"The log has level {constant}."
    sources = [source for source in (option.variable, option.place) if source]
    if option.default is not None and not option.constants:
        shown = {True: "ON", False: "OFF"}[option.default] if option.kind == Kind.YES_NO else option.default
        sources.append(f"default {' '.join(shown) if isinstance(shown, list) else shown}")
    return f"{text} [{'; '.join(sources)}]".replace("%", "%%")


def _about_unknown(words: list[str]) -> str:
    gone = sorted({flag for flag in _GONE for word in words if word.partition("=")[0] == flag})
    if gone:
        return (
            f"{', '.join(gone)}: bluesky-queueserver has this no more since 0.0.22, nor have we: subscribe what "
            "publishes or stores documents to RE in the startup code, and set RE.md there"
        )
    return f"unrecognized arguments: {' '.join(words)}"


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=28, width=100)
