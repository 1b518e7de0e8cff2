"""A recipe of words, from an s5 directory of Kaldi's layout to a table with WER; and what is refused."""

import re
import shutil
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
import yaml
from made_cfg import write_cfg
from train_command import run
from word_recipe import LEXICON, OOV, make_s5

from frenchpress.common import UserError
from frenchpress.config import DecodeConfig
from frenchpress.explore.__main__ import explore
from frenchpress.export.front import make_front
from frenchpress.nnet import decode
from frenchpress.nnet import task as stage3
from frenchpress.nnet.decode import decode_experiment
from frenchpress.nnet.task import Task
from frenchpress.report import compare, table
from frenchpress.report.collect import System, measured, unit_of
from frenchpress.report.diagnose import __main__ as diagnose
from frenchpress.report.diagnose.targets import target_findings
from frenchpress.report.page import write
from frenchpress.score import per
from frenchpress.score.unit import PHONE, WORD

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
model: {context: [0, 0], lstm: {layers: 1, cells: 24}}
train: {epochs: 10, batch: 1, threads: 1, device: cpu}
decode: {acoustic_scales: [1.0], lm_weights: [1]}
"""


@pytest.fixture(scope="module")
def made_s5(tmp_path_factory):
    return make_s5(tmp_path_factory.mktemp("s5"))


@pytest.fixture
def s5(made_s5, tmp_path):
    """A copy to break."""
    shutil.copytree(made_s5, tmp_path / "s5")
    for scp in (tmp_path / "s5").glob("data-fmllr-tri3/*/feats.scp"):  # the archives were moved
        scp.write_text(scp.read_text().replace(str(made_s5), str(tmp_path / "s5")))
    return tmp_path / "s5"


def called(module, *arguments):
    """Run a command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
        patch.setattr(write, "copy_plotly", lambda out: False)
        module.main()


def make_task(s5, *more):
    called(stage3, "--kaldi-s5", s5, "--out", s5.parent / "exp/task", *more)
    return Task.load(s5.parent / "exp/task")


def squeezed(text):
    return re.sub(" +", " ", text)


def sure(task):
    """Posteriors of a network that knows each frame's state."""
    states = {}
    for split in ("dev", "test"):
        for _, feats, pdfs, _ in task.split(split):
            states[feats.tobytes()] = torch.nn.functional.one_hot(torch.from_numpy(pdfs).long(), task.num_pdfs)
    return lambda utterances: [(50.0 * states[u.numpy().tobytes()]).log_softmax(-1) for u in utterances]


def test_stage_3_says_that_it_is_of_words_and_what_is_not_scored(s5, capsys):
    task = make_task(s5)
    said = capsys.readouterr().out
    assert f"graph/words.txt: 5 of 8 words are no phones of {s5}/data/lang, nor are the references: scored in w" in said
    assert "no speech, so never scored: !SIL <UNK>\n" in said
    assert (
        f"data/dev/text: 1 of {task.scoring.score(*2 * [task.split('dev').text]).counts.tokens} words (1 diff" in said
    )
    assert said.count(f"so each is an error: {OOV}\n") == 1
    assert (task.unit, task.num_phones, task.num_pdfs) == (WORD, 10, 20)
    assert task.scoring.left_out == {"!SIL", "<UNK>"}


def test_words_are_recognised_and_a_word_that_is_not_in_the_graph_is_one_error(s5, tmp_path):
    """It is recognised as <UNK>, which is not scored: a deletion, as in Kaldi's scoring."""
    task = make_task(s5)
    options = DecodeConfig(acoustic_scales=(0.5,), lm_weights=(2.0,))
    lines = decode_experiment(tmp_path / "x", task, sure(task), options, "digest").splitlines()
    assert lines[0].startswith("%WER ") and ", 0 ins, 1 del, 0 sub ] dev 95%=" in lines[0] and " words=" in lines[0]
    assert lines[1].startswith("%WER 0.00 [ 0 /") and " test 95%=" in lines[1] and len(lines) == 3
    assert (tmp_path / "x/WER").read_text().splitlines() == lines and not (tmp_path / "x/PER").exists()
    heard = (tmp_path / "x/decode_dev/hyp.txt").read_text()
    assert "<UNK>" in heard and "<UNK>" not in (tmp_path / "x/decode_dev/hyp.mapped").read_text()
    assert (tmp_path / "x/decode_dev/per_word").read_text().splitlines()[1].split()[0] == OOV
    assert not target_findings(task, options)


def test_from_an_s5_directory_to_a_table_of_wer(s5, tmp_path, monkeypatch, capsys):
    task, exp = make_task(s5), tmp_path / "exp"
    run(monkeypatch, write_cfg(tmp_path, CONFIG), task.path, exp / "x")
    called(decode, exp / "x")
    shutil.copytree(exp / "x", exp / "y")
    torch.use_deterministic_algorithms(False)
    found = yaml.safe_load((exp / "x/decode_test/stats.yaml").read_text())
    assert found["unit"] == "word" and found["per"] < 50
    called(table, "--exp", exp)
    text = squeezed((exp / "RESULTS.md").read_text())
    assert "| WER dev | WER test |" in text and f"6 utterances, {found['phones']} words" in text
    assert "- **WER**: word error rate" in text and "x/decode_dev/per_word" in text
    assert "PER" not in text and "phone" not in text
    assert '"title":"WER test"' in (exp / "report/index.html").read_text()
    capsys.readouterr()
    called(compare, exp / "x", exp / "y")
    said = squeezed(capsys.readouterr().out)
    assert "| WER |" in said and "| word |" in said and "PER" not in said and "phone" not in said
    called(diagnose, exp / "x")
    assert "| speaker | words | WER |" in squeezed((exp / "x/diagnose.md").read_text())
    assert not (exp / "x/diagnose/confusions.csv").exists()
    capsys.readouterr()
    hyp = exp / "x/decode_test/hyp.txt"
    called(
        per, "--ref", task.path / "test/text", "--hyp", hyp, "--unit", "word", "--not-scored", task.path / "not_scored"
    )
    assert capsys.readouterr().out.startswith(found["line"] + "\n")


def test_what_is_of_phones_refuses_a_task_of_words(s5, tmp_path):
    task = make_task(s5)
    with pytest.raises(UserError, match="exp/task: of words, and audio is recognised in phones: no front end"):
        make_front(tmp_path, tmp_path, task)
    with pytest.raises(UserError, match="exp/task: scored in words; designs are searched by PER"):
        explore(Namespace(recipe=ROOT / "recipes/explore_tiny", task=task.path))
    rate = {"per": 1.0, "interval": [0.0, 2.0], "utterances": 2, "phones": 9}
    systems = [System(u, None, measured(rate | {"unit": u})) for u in ("word", "phone")]
    assert unit_of(systems[:1]) is WORD and unit_of([]) is PHONE
    with pytest.raises(UserError, match="phone is scored in phones and word is scored in words: their rates say"):
        unit_of(systems)


def replace_in(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        text = text.replace(old, new)
    path.write_text(text)


def test_a_score_map_of_phones_is_refused(s5, tmp_path):
    (tmp_path / "map").write_text("a_B a\n")
    with pytest.raises(UserError, match=r"map: is of phones, and graph and references are of words \(.*leave the file"):
        make_task(s5, "--score-map", tmp_path / "map")


def test_references_of_another_corpus_or_of_phones(s5):
    for split in ("dev", "test"):
        text = s5 / f"data/{split}/text"
        text.write_text(text.read_text().replace("ab", "AB").replace("ba", "BA").replace("cAB", "CAB"))
    with pytest.raises(
        UserError, match=r"data/dev/text: \d+ of \d+ words .* are not in .*words.txt: .*; capitals count"
    ):
        make_task(s5)
    for split in ("dev", "test"):
        text = s5 / f"data/{split}/text"
        text.write_text("".join(f"{line.split()[0]} a b\n" for line in text.read_text().splitlines()))
    with pytest.raises(UserError, match="words are no phones .*, but all references in .*dev/text and .*test/text are"):
        make_task(s5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: words.unlink(), "words.txt: no such file, expected the words of the graph"),
        (lambda words: replace_in(words, ("kab 8\n", "")), "words.txt: has no word of number 8, but HCLG.fst"),
        (lambda words: replace_in(words, ("kab 8", "kab")), "words.txt"),
        (lambda words: words.write_text("<eps> 0\na 1\nb 2\n"), "words.txt: .*HCLG.fst|is no phone"),
    ],
)
def test_a_words_txt_that_is_not_the_graphs(s5, change, message):
    change(s5 / "exp/tri3/graph/words.txt")
    with pytest.raises(UserError, match=message):
        make_task(s5)
    assert not (s5.parent / "exp/task").exists()


def test_a_words_txt_in_another_order_is_found_by_diagnose(s5):
    words = [*LEXICON]
    moved = "".join(f"{word} {n}\n" for n, word in enumerate(["<eps>", *words[:2], *words[:1:-1], "#0"]))
    (s5 / "exp/tri3/graph/words.txt").write_text(moved)
    (finding,) = target_findings(make_task(s5), DecodeConfig())
    assert finding.kind == "graph of another experiment" and "into words with a WER of" in finding.seen
