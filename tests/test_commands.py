"""One way in: every program is in the list or in a script of the recipe, and the list costs no time."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from frenchpress import __main__ as door
from frenchpress.commands import COMMANDS, GROUPS, listing
from frenchpress.common import UserError

ROOT = Path(__file__).resolve().parents[1]
ENTRY = 'if __name__ == "__main__":'


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_every_program_is_a_command_or_called_by_a_script():
    programs = {module_of(p) for p in (ROOT / "frenchpress").rglob("*.py") if ENTRY in p.read_text()}
    scripts = "".join(p.read_text() for place in ("steps", "local") for p in (ROOT / place).glob("*.sh"))
    scripts += (ROOT / "run.sh").read_text()
    called = set(re.findall(r"frenchpress(?:\.\w+)+", scripts))
    assert set(COMMANDS.values()) <= programs
    missing = programs - set(COMMANDS.values()) - called - {"frenchpress.__main__", "frenchpress.graph.bigram"}
    assert not missing, "name it in frenchpress/commands.py"


def test_the_list_fits_a_screen_and_every_module_has_a_main():
    lines = listing("frenchpress").splitlines()
    assert len(lines) <= 45 and max(map(len, lines)) <= 90
    assert sum(map(len, GROUPS.values())) == len(COMMANDS), "a name twice"
    for module in COMMANDS.values():
        tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
        assert any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body), module


def test_listing_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['frenchpress']; from frenchpress.__main__ import main; main(); "
        "assert not {'torch', 'numpy', 'tqdm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "recognise" in done.stdout


EARLY = [
    ("pack none", "none: no such directory"),
    ("pack {exp}/x", "{exp}/x/final.pt: no such file; has the model been trained?"),
    (
        "movement {exp}/x --banks 0",
        "frenchpress movement: argument --banks: '0', expected a number from 1 up; --help",
    ),
    ("movement", "frenchpress movement: the following arguments are required: experiment; --help lists what it takes"),
    ("diagnose {exp}/x --tsak y", "frenchpress diagnose: unrecognized arguments: --tsak y; --help lists what it takes"),
    ("compare {exp}/x {exp}/y --split train", "frenchpress compare: argument --split: invalid choice: 'train'"),
    ("movement {exp}", "{exp}/final.pt: no such file; experiments in it are {exp}/trained"),
    ("movement {exp}/trained/PER", "{exp}/trained/PER: a file, where a directory is expected; give {exp}/trained"),
    ("check conf/tini.cfg", "conf/tini.cfg: no such file, did you mean 'tiny.cfg'?"),
    ("errors {exp}/x {exp}/y", "{exp}/y: no such file or directory"),
    ("to-onnx {exp}/x", "{exp}/x/final.pt: no such file; has the model been trained?"),
    ("decode {exp}/x --task none", "none: no such directory"),
    ("check none.cfg", "none.cfg: no such file"),
    ("show conf/tini.cfg", "conf/tini.cfg: no such file, did you mean 'tiny.cfg'?"),
    ("picture x.press", "frenchpress picture: the following arguments are required: WAV; --help lists what it takes"),
    ("recognise m --adapt all a.wav", "frenchpress recognise: argument --adapt: invalid choice: 'all'"),
    ("train --config none.cfg --task {exp} {exp}/y", "none.cfg: no such file"),
    ("explore --task {exp} --jobs 0 x y", "frenchpress explore: argument --jobs: '0', expected a number from 1 up;"),
    ("study-plan --task {exp} none exp/none", "none: no such directory"),
]


@pytest.mark.parametrize(("called", "said"), EARLY)
def test_what_is_wrong_with_a_call_is_one_line_before_torch_is_loaded(called, said, tmp_path, monkeypatch):
    for place in tmp_path / "x", tmp_path / "trained":
        place.mkdir()
    for name in "final.pt", "PER":
        (tmp_path / "trained" / name).touch()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["frenchpress", *called.format(exp=tmp_path).split()])
    monkeypatch.setattr(door.importlib, "import_module", lambda module: pytest.fail(f"{module} was imported"))
    with pytest.raises(UserError) as error:
        door.main()
    assert str(error.value).startswith(said.format(exp=tmp_path)) and "\n" not in str(error.value)


def test_what_reads_the_arguments_loads_nothing_heavy():
    code = (
        "import sys, frenchpress.arguments; from frenchpress.arguments import _ARGUMENTS, check_early\n"
        "for name in _ARGUMENTS:\n"
        "    sys.argv = ['frenchpress ' + name, '--help']\n"
        "    try: check_early(name)\n"
        "    except SystemExit as stopped: assert stopped.code == 0\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "What may be wrong with a trained model" in done.stdout, "the docstring of the module describes it"


@pytest.mark.parametrize("before", [["-m", "frenchpress"], [str(Path(sys.executable).parent / "frenchpress")]])
def test_help_of_a_command_shows_how_it_was_called(before):
    done = subprocess.run([sys.executable, *before, "show", "--help"], cwd=ROOT, capture_output=True, text=True)
    called = "python -m frenchpress" if before[0] == "-m" else "frenchpress"
    assert done.stdout.startswith(f"usage: {called} show "), done.stderr


def test_unknown_names_get_the_nearest(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/frenchpress", "recognize", "x"])
    with pytest.raises(UserError, match="^frenchpress: no command 'recognize'; did you mean recognise"):
        door.main()
