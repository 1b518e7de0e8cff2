"""The examples that take a directory, on a few made samples."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import frenchpress.compress as fp
from frenchpress.common import UserError

EXAMPLES = Path(__file__).parent.parent / "examples"


def script(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


@pytest.mark.slow
def test_mobilenet_on_made_images(tmp_path, capsys):
    random = np.random.default_rng(0)
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        records = random.integers(0, 256, (6, 3073), np.uint8)
        records[:, 0] %= 10
        records.tofile(tmp_path / f"{name}.bin")
    model = script("cifar10_mobilenet")["main"]([str(tmp_path), "--epochs", "2", "--split", "3", "--width", "0.25"])
    said = capsys.readouterr().out
    assert "of 6 test images are right" in said and "epoch 2: density" in said
    sent = model[1][3]
    assert 0 < sent.backward_bytes < 12 * 6 * 32 * 32 * 3 / 8  # 12 images in a batch, backwards without the places
    chains = {p.name: p.chain for p in fp.pressed_tensors(model)}
    assert chains["6.weight"].quantizer.bits == 8 and chains["0.0.weight"].density == 1
    assert chains["2.0.weight"].density == pytest.approx(0.5)


@pytest.mark.slow
def test_roberta_on_made_sentences(tmp_path, capsys):
    transformers = pytest.importorskip("transformers", reason="the example's model is of transformers")
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *map(chr, range(ord("a"), ord("z") + 1)), "\u0120"]
    (tmp_path / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    files = [str(tmp_path / name) for name in ("vocab.json", "merges.txt")]
    transformers.RobertaTokenizerFast(*files).save_pretrained(tmp_path)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.RobertaConfig(vocab_size=len(letters), max_position_embeddings=64, **sizes)
    transformers.RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    rows = [f"x\t{i % 2}\t*\t{'good' if i % 2 else 'bad'} words here" for i in range(8)]
    pairs = [f"{i}\tone thing\tanother\t{'' if i % 2 else 'not_'}entailment" for i in range(8)]
    tables = {"CoLA": rows, "RTE": ["index\tsentence1\tsentence2\tlabel", *pairs]}
    for task, lines in tables.items():
        (tmp_path / task).mkdir()
        for name in ("train", "dev"):
            (tmp_path / task / f"{name}.tsv").write_text("\n".join(lines) + "\n")
        model = script("glue_roberta")["main"]([str(tmp_path / task), "--model", str(tmp_path), "--epochs", "1"])
        assert "epoch 1: " in capsys.readouterr().out
        bits = {p.name: p.chain.quantizer.bits for p in fp.pressed_tensors(model)}
        assert bits.pop("roberta.embeddings.word_embeddings.weight") == 8
        assert set(bits.values()) == {4} and len(bits) == 6


def test_tables_are_read_and_scored():
    found = script("glue_roberta")
    assert found["matthews"]([1, 1, 0, 0], [1, 0, 1, 0]) == pytest.approx(0)
    assert found["matthews"]([1, 0, 1], [0, 1, 0]) == pytest.approx(-1) and found["matthews"]([1, 1], [0, 1]) == 0


def test_what_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(UserError, match="data_batch_[*].bin: no such file, or not the binary version"):
        script("cifar10_mobilenet")["main"]([str(tmp_path)])
    read = script("glue_roberta")["read"]
    with pytest.raises(UserError, match="train.tsv: no such file; the directory of CoLA or RTE"):
        read(tmp_path / "train.tsv")
    (tmp_path / "train.tsv").write_text("a\tb\n")
    with pytest.raises(UserError, match="train.tsv: not a table of CoLA or RTE"):
        read(tmp_path / "train.tsv")
