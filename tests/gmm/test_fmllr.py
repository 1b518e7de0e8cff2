"""fMLLR: against Kaldi's own transforms, and as the optimum of its objective."""

import re

import numpy as np
import pytest

from frenchpress.gmm.fmllr import (
    FmllrStats,
    apply_affine,
    compose_affine,
    estimate,
    estimate_speakers,
    frame_targets,
)
from frenchpress.kaldi.gmm import AmGmm, DiagGmm, read_model
from frenchpress.kaldi.io import read_int_vectors, read_mats
from frenchpress.kaldi.scp import read_table


def toy(rng, dim=3, pdfs=4, gauss=2, frames=900):
    gmms = [
        DiagGmm(
            rng.dirichlet(np.ones(gauss)),
            3 * rng.standard_normal((gauss, dim)),
            rng.uniform(0.3, 2, (gauss, dim)),
        )
        for _ in range(pdfs)
    ]
    pdf_ids = rng.integers(pdfs, size=frames)
    picks = rng.integers(gauss, size=frames)
    means = np.stack([gmms[p].means[g] for p, g in zip(pdf_ids, picks)])
    deviations = np.stack([np.sqrt(gmms[p].vars[g]) for p, g in zip(pdf_ids, picks)])
    return AmGmm(gmms), pdf_ids, means + deviations * rng.standard_normal((frames, dim))


def text_matrices(path):
    found = re.findall(r"(\S+)\s+\[([^\]]*)\]", path.read_text())
    return {key: np.array([row.split() for row in body.strip().splitlines()], float) for key, body in found}


def test_training_speakers_get_kaldis_transforms(kaldi_mboshi):
    # The features come back from the fMLLR ones through the inverse of the transform that made them; those
    # are stored with 8 bits, which is what the tolerances are for.
    ali_dir = kaldi_mboshi / "exp/tri3_ali_train"
    transitions, am = read_model(ali_dir / "final.mdl")
    alignment = {k: v for path in sorted(ali_dir.glob("ali.*.gz")) for k, v in read_int_vectors(path).items()}
    applied = {key: np.asarray(m, float) for key, m in read_mats(ali_dir / "trans")}
    speaker = read_table(kaldi_mboshi / "data-fmllr-tri3/train/utt2spk")
    silent = transitions.tid2phone == 1

    def utterances():
        for key, feats in read_mats(kaldi_mboshi / "data-fmllr-tri3/train/feats.scp"):
            matrix = applied[speaker[key]]
            original = (feats - matrix[:, -1]) @ np.linalg.inv(matrix[:, :-1]).T
            yield speaker[key], original, transitions.tid2pdf[alignment[key]], 1.0 - silent[alignment[key]]

    results = estimate_speakers(utterances(), am)
    golden = text_matrices(kaldi_mboshi / "golden/fmllr_from_ali_train.txt")
    log = (kaldi_mboshi / "golden/fmllr_from_ali_train.log").read_text()
    gains = re.findall(r"For speaker (\S+), auxf-impr from fMLLR is (\S+), over (\d+) frames", log)
    assert {name for name, _, _ in gains} == set(results) == set(golden)
    for name, gain, frames in gains:
        transform, our_gain, our_frames = results[name]
        assert our_frames == int(frames)
        assert our_gain == pytest.approx(float(gain), abs=2e-3)
        assert np.abs(transform - golden[name]).max() < 2e-3


def test_undoes_a_known_distortion():
    rng = np.random.default_rng(1)
    am, pdf_ids, feats = toy(rng, frames=20000)
    distortion = np.array([[1.2, 0.1, 0.0, 0.3], [-0.1, 0.9, 0.05, -0.2], [0.02, 0.0, 1.1, 0.1]])
    distorted = apply_affine(feats, distortion)
    stats = FmllrStats(3)
    # Posteriors of the clean frames: the only unknown left is the transform.
    targets = frame_targets(distorted, pdf_ids, am, posterior_feats=feats)
    stats.accumulate_targets(distorted, targets)
    transform, gain = estimate(stats)
    assert gain > 0.1
    assert np.allclose(compose_affine(transform, distortion), np.eye(3, 4), atol=0.03)


def test_estimate_is_a_maximum():
    rng = np.random.default_rng(2)
    am, pdf_ids, feats = toy(rng)
    stats = FmllrStats(3)
    stats.accumulate(1.3 * feats + 0.2, pdf_ids, am)
    transform, gain = estimate(stats)
    best = stats.objective(transform)
    assert best == pytest.approx(stats.objective(np.eye(3, 4)) + gain * stats.beta)
    for _ in range(20):
        assert stats.objective(transform + 1e-2 * rng.standard_normal((3, 4))) < best


def test_too_little_data_leaves_features_alone():
    am, pdf_ids, feats = toy(np.random.default_rng(3), frames=499)
    stats = FmllrStats(3)
    stats.accumulate(feats * 2, pdf_ids, am)
    transform, gain = estimate(stats)
    assert gain == 0 and np.array_equal(transform, np.eye(3, 4))


def test_weights_drop_frames_and_parts_add_up():
    am, pdf_ids, feats = toy(np.random.default_rng(4))
    weights = (pdf_ids != 0).astype(float)
    weighted, dropped, parts = FmllrStats(3), FmllrStats(3), FmllrStats(3)
    weighted.accumulate(feats, pdf_ids, am, weights)
    dropped.accumulate(feats[pdf_ids != 0], pdf_ids[pdf_ids != 0], am)
    for half in (slice(0, 300), slice(300, None)):
        part = FmllrStats(3)
        part.accumulate(feats[half], pdf_ids[half], am, weights[half])
        parts.add(part)
    for stats in (dropped, parts):
        assert stats.beta == pytest.approx(weighted.beta)
        assert np.allclose(stats.K, weighted.K) and np.allclose(stats.G, weighted.G)


def test_speakers_do_not_mix():
    am, pdf_ids, feats = toy(np.random.default_rng(5), frames=2000)
    halves = {"a": slice(0, 900), "b": slice(900, 2000)}
    utterances = [(s, feats[h][i::2], pdf_ids[h][i::2], None) for i in (0, 1) for s, h in halves.items()]
    together = estimate_speakers(utterances, am)
    for name, half in halves.items():
        alone = FmllrStats(3)
        alone.accumulate(feats[half], pdf_ids[half], am)
        assert np.allclose(together[name][0], estimate(alone)[0], atol=1e-9)


def test_composition_is_one_after_the_other():
    rng = np.random.default_rng(6)
    first, second = rng.standard_normal((3, 4)), rng.standard_normal((3, 4))
    x = rng.standard_normal((5, 3))
    in_steps = apply_affine(apply_affine(x, first), second)
    assert np.allclose(apply_affine(x, compose_affine(second, first)), in_steps, atol=1e-5)
    with pytest.raises(ValueError, match="does not fit"):
        apply_affine(x, np.eye(5))
