"""The version of skybus."""

from importlib.metadata import version

VERSION = version("skybus")
