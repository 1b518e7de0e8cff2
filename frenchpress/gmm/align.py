"""Forced alignment of a data set with a trained system:

    python -m frenchpress.gmm.align --nj 2 --sil-prob 0.1 data/train data/lang exp/tri3 exp/tri3_ali_train
    python -m frenchpress.gmm.align --nj 2 --transforms exp/tri3/trans_dev data/dev data/lang exp/tri3 exp/tri3_ali_dev

A speaker-adapted system takes fMLLR transforms from a file, as decoding wrote it, or estimates them: from an alignment
of unadapted features with its speaker-independent mixtures.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from frenchpress.common import UserError, digest, run_main
from frenchpress.gmm.adapted import Transforms, speaker_transforms
from frenchpress.gmm.corpus import Frames
from frenchpress.gmm.inputs import Inputs
from frenchpress.gmm.model import System, read_transforms, write_alignment
from frenchpress.gmm.phoneset import PhoneSet
from frenchpress.gmm.stage import produce, system_digest
from frenchpress.gmm.train import Aligner, silence_free
from frenchpress.kaldi.io import write_mats

_COPIED = ("final.mdl", "tree", "final.mat", "splice_opts", "cmvn_opts")


def align_set(inputs: Inputs, model_dir: Path, transforms: Path | None, out: Path) -> None:
    """Write ali.1.gz, the model's files, and `trans` for an adapted system, into `out`."""
    phones, aligner = inputs.load()
    if not any(aligner.corpus.phones):
        raise UserError(f"{inputs.data}/text: no transcripts, nothing to align")
    system = System.load(model_dir)
    feats = system.front_end(aligner.corpus)
    if system.speaker_independent is not None:
        found = read_transforms(transforms) if transforms else estimate(system, aligner, feats, phones)
        write_mats(out / "trans", None, sorted(found.items()))
        feats = aligner.corpus.adapt(feats, found)
    write_alignment(out, aligner.corpus, aligner(system.model, feats))
    for name in _COPIED:
        if (model_dir / name).exists():
            shutil.copyfile(model_dir / name, out / name)


def estimate(system: System, aligner: Aligner, feats: Frames, phones: PhoneSet) -> Transforms:
    """fMLLR from an alignment of unadapted features [F, D] by the speaker-independent mixtures."""
    model, independent = system.model, system.speaker_independent
    tids = aligner(model.with_gmms(independent), feats)
    speech = silence_free(model.transitions, tids, phones.silence)
    return speaker_transforms(aligner.corpus, feats, speech, model.gmms, independent)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Align a data set with a trained GMM system.")
    Inputs.add_arguments(parser)
    parser.add_argument("model", type=Path, help="experiment directory of the system")
    parser.add_argument("out", type=Path, help="directory to write")
    parser.add_argument("--transforms", type=Path, help="archive of fMLLR per speaker; estimated if not given")
    args = parser.parse_args()
    inputs = Inputs.of(args)
    key = {"stage": "align", "system": system_digest(args.model)} | inputs.key()
    if args.transforms:
        key["transforms"] = digest(args.transforms) if args.transforms.exists() else None
    produce(args.out, key, lambda: align_set(inputs, args.model, args.transforms, args.out))


if __name__ == "__main__":
    run_main(main)
