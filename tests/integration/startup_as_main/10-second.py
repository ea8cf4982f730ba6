"""A second file in the same namespace."""


def second_file() -> str:
    """Ask for the own file."""
    return __file__
