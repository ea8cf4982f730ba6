"""Plans with docstrings of many forms."""

from typing import Any

DOCSTRINGS = {
    "one_line": "Do it.",
    "two_lines": "Do it\nand more.",
    "two_paragraphs": "Do it.\n\nMore about it.",
    "indented": "\n    Do it.\n\n    Parameters\n    ----------\n    a : int\n        First.\n    b\n        Second.\n    ",
    "first_line": "Do it.\n\n    Parameters\n    ----------\n    a : int\n        First.\n\n        Goes on.\n    b : str, optional\n        Second.\n    ",
    "together": "Do it.\n\n    Parameters\n    ----------\n    a, b : int\n        Both.\n    ",
    "stars": "Do it.\n\n    Parameters\n    ----------\n    *args : Any\n        The rest.\n    **kwargs\n        Named.\n    ",
    "escaped_stars": "Do it.\n\n    Parameters\n    ----------\n    \\*args : Any\n        The rest.\n    ",
    "no_text": "Do it.\n\n    Parameters\n    ----------\n    a : int\n    b : int\n    ",
    "list_text": "Do it.\n\n    Parameters\n    ----------\n    a : int\n        One of\n\n        - first\n        - second\n\n            deeper\n    ",
    "no_blank": "Do it.\n    Parameters\n    ----------\n    a : int\n        First.\n    ",
    "returns": "Do it.\n\n    Parameters\n    ----------\n    a\n        First.\n\n    Returns\n    -------\n    b\n        No parameter.\n    ",
    "yields_first": "Do it.\n\n    Yields\n    ------\n    msg\n        Messages.\n\n    Parameters\n    ----------\n    a\n        First.\n    ",
    "section_only": "Parameters\n    ----------\n    a\n        First.\n    ",
    "others": "Do it.\n\n    Other Parameters\n    ----------------\n    a\n        First.\n    ",
    "tabs": "Do it.\n\n\tParameters\n\t----------\n\ta : int\n\t\tFirst.\n\t",
    "empty": "",
    "blank": "   \n  ",
    "colons": "Do it: now.\n\n    Parameters\n    ----------\n    a : {'x', 'y'}\n        Either: or.\n    b: int\n        Close.\n    ",
    "unknown_section": "Do it.\n\n    Details\n    -------\n    a\n        First.\n    ",
    "see_also": "Do it.\n\n    Parameters\n    ----------\n    a\n        First.\n\n    See Also\n    --------\n    :func:`bluesky.plans.count`\n    ",
    "unicode": "Tu es größer.\n\n    Parameters\n    ----------\n    a : µm\n        Länge in µm.\n    ",
    "google": "Do it.\n\n    Args:\n        a: First.\n            Goes on.\n        b (int): Second.\n        *args: The rest.\n    ",
    "google_parameters": "Do it.\n\n    Parameters:\n        a (int): First.\n\n    Returns:\n        something\n    ",
    "google_arguments": "Do it.\n\n    Arguments:\n        a: First.\n    ",
    "sphinx": "Do it.\n\n    :param a: First.\n    :param int b: Second.\n    ",
}


def _documented(name: str, text: str) -> Any:
    def plan(a=1, b=2, *args, **kwargs):
        yield from ()

    plan.__name__, plan.__doc__ = name, text
    return plan


for _name, _text in DOCSTRINGS.items():
    globals()[f"documented_{_name}"] = _documented(f"documented_{_name}", _text)
