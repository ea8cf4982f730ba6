"""Functions of startup code find the file that they were written in, also when other files have loaded since."""

from pathlib import Path

import pytest

from skybus.worker.environment.startup import StartupSource, load_startup
from skybus.worker.environment.user_namespace import ShellStandIn


def test_each_function_finds_its_own_file(tmp_path: Path) -> None:
    for name in ("10-a.py", "20-b.py"):
        (tmp_path / name).write_text(f"def of_{name[3]}():\n    return f'{{__file__}}'\n")

    namespace = load_startup(StartupSource(directory=tmp_path))

    assert namespace["of_a"]() == str(tmp_path / "10-a.py")
    assert namespace["of_b"]() == str(tmp_path / "20-b.py")


def test_code_that_has_a_variable_of_that_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "00.py").write_text("def of(__file__):\n    return __file__\n")
    assert load_startup(StartupSource(directory=tmp_path))["of"](1) == 1


@pytest.mark.parametrize("name", ["run_line_magic", "register_magics", "profile_dir", "events"])
def test_what_only_an_ipython_shell_has_is_refused_with_the_way_to_one(name: str) -> None:
    shell = ShellStandIn({})
    assert not hasattr(shell, name)
    with pytest.raises(AttributeError, match=rf"get_ipython\(\)\.{name} needs an IPython kernel.*--use-ipython-kernel"):
        getattr(shell, name)
