"""RoBERTa on CoLA or RTE: 4-bit weights with few epochs, the embeddings with 8 bits.

    python examples/glue_roberta.py glue/CoLA --model roberta-base
    python examples/glue_roberta.py glue/RTE --model roberta-base --bits 3

The directory has train.tsv and dev.tsv of GLUE. Needs `pip install -e '.[roberta]'`; --model is a directory or a name.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

import frenchpress.compress as fp
from frenchpress.common import UserError

RTE = {"not_entailment": 0, "entailment": 1}


def read(path: Path) -> list[tuple[tuple[str, ...], int]]:
    """(sentences, label) of each line: of RTE two sentences under a header, of CoLA one in the fourth column."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; the directory of CoLA or RTE has train.tsv and dev.tsv")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    try:
        if rows[0][:2] == ["index", "sentence1"]:
            return [((row[1], row[2]), RTE[row[3]]) for row in rows[1:]]
        return [((row[3],), int(row[1])) for row in rows]
    except (IndexError, KeyError, ValueError):
        raise UserError(f"{path}: not a table of CoLA or RTE") from None


def matthews(said: Sequence[int], right: Sequence[int]) -> float:
    """Matthews' correlation of two sequences of 0 and 1, by which CoLA is scored."""
    pair = torch.tensor([said, right], dtype=torch.float64)
    return float(torch.corrcoef(pair)[0, 1].nan_to_num())


def main(argv: Sequence[str] | None = None) -> nn.Module:
    """Train, score dev after each epoch, and give the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="of CoLA or RTE")
    parser.add_argument("--model", default="roberta-base", help="directory of a model and its tokenizer, or its name")
    parser.add_argument("--epochs", type=int, default=3, help="passes over train.tsv (3)")
    parser.add_argument("--bits", type=int, default=4, help="of weights (4)")
    parser.add_argument("--rate", type=float, default=2e-5, help="learning rate (2e-5)")
    args = parser.parse_args(argv)
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError:
        raise UserError("this example needs transformers: pip install -e '.[roberta]'") from None
    train, dev = read(args.directory / "train.tsv"), read(args.directory / "dev.tsv")
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(args.model, num_labels=2)
    words = "roberta.embeddings.word_embeddings"
    fp.press(model, {"*encoder*": fp.Press(weight_bits=args.bits), words: fp.Press(weight_bits=8)})
    optimizer = torch.optim.AdamW(model.parameters(), args.rate)
    torch.manual_seed(0)

    def logits(examples: Sequence[tuple[tuple[str, ...], int]]) -> Tensor:
        texts = [list(column) for column in zip(*(sentences for sentences, _ in examples))]
        return model(**tokenizer(*texts, padding=True, truncation=True, return_tensors="pt")).logits

    for epoch in range(args.epochs):
        model.train()
        for rows in torch.randperm(len(train)).split(16):
            batch = [train[row] for row in rows]
            loss = nn.functional.cross_entropy(logits(batch), torch.tensor([label for _, label in batch]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            parts = [dev[start : start + 64] for start in range(0, len(dev), 64)]
            said = torch.cat([logits(part).argmax(1) for part in parts]).tolist()
        right = [label for _, label in dev]
        share = sum(a == b for a, b in zip(said, right)) / len(dev)
        print(f"epoch {epoch + 1}: {100 * share:.1f} % right, Matthews' correlation {matthews(said, right):.3f}")
    print(fp.describe(model))
    return model


if __name__ == "__main__":
    main()
