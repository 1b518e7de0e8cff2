"""Acoustic models of Gaussian mixtures with diagonal covariance (`final.mdl`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from frenchpress.common import UserError
from frenchpress.kaldi.binary import BinaryReader, BinaryWriter
from frenchpress.kaldi.transition import TransitionModel, read_transitions, write_transitions


@dataclass
class DiagGmm:
    """A mixture of M Gaussians: weights [M], means [M, D], variances [M, D], all float64.

    `gconsts` [M] are the constants as a file had them; a writer keeps them where they are still true.
    """

    weights: np.ndarray
    means: np.ndarray
    vars: np.ndarray
    gconsts: np.ndarray | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.weights = np.asarray(self.weights, np.float64)
        self.means = np.asarray(self.means, np.float64)
        self.vars = np.asarray(self.vars, np.float64)

    @property
    def num_gauss(self) -> int:
        """How many Gaussians."""
        return len(self.weights)


@dataclass
class AmGmm:
    """One mixture per pdf, all of the same dimension."""

    pdfs: list[DiagGmm]

    @property
    def num_pdfs(self) -> int:
        """How many mixtures."""
        return len(self.pdfs)

    @property
    def dim(self) -> int:
        """The dimension of the features."""
        return self.pdfs[0].means.shape[1]

    @property
    def num_gauss(self) -> int:
        """Gaussians over all pdfs."""
        return sum(gmm.num_gauss for gmm in self.pdfs)


def read_model(path: Path | str) -> tuple[TransitionModel, AmGmm | None]:
    """Read Kaldi's binary `final.mdl`: transition model, and the mixtures (None if not a GMM system)."""
    reader = BinaryReader(path)
    transitions = read_transitions(reader)
    if reader.at_end() or reader.peek_token() != "<DIMENSION>":
        return transitions, None
    reader.expect("<DIMENSION>")
    reader.int32()
    reader.expect("<NUMPDFS>")
    count = reader.int32()
    if count != transitions.num_pdfs:
        raise UserError(f"{path}: {count} mixtures for {transitions.num_pdfs} pdfs; they should be equal")
    return transitions, AmGmm([_read_gmm(reader) for _ in range(count)])


def write_model(path: Path | str, transitions: TransitionModel, am: AmGmm) -> None:
    """Write transition model and mixtures as Kaldi's binary `final.mdl`."""
    writer = BinaryWriter()
    write_transitions(writer, transitions)
    writer.token("<DIMENSION>")
    writer.int32(am.dim)
    writer.token("<NUMPDFS>")
    writer.int32(am.num_pdfs)
    for gmm in am.pdfs:
        _write_gmm(writer, gmm)
    writer.save(path)


def log_constants(weights: np.ndarray, means_invvars: np.ndarray, inv_vars: np.ndarray) -> np.ndarray:
    """The part of each Gaussian's log-likelihood that no frame changes, float32 [M].

    log w - D/2 log 2 pi + sum_d (1/2 log 1/v_d - m_d^2 / (2 v_d)); summed in single precision from left to
    right as Kaldi does, so that files agree to the last bit but for the rounding of its logarithm.
    """
    weights, scaled, inverse = (np.asarray(a, np.float32) for a in (weights, means_invvars, inv_vars))
    offset = np.float32(-0.5 * np.log(2 * np.pi) * scaled.shape[1])
    logs = np.log(inverse.astype(np.float64)).astype(np.float32)
    wide, wide_inverse = scaled.astype(np.float64), inverse.astype(np.float64)
    terms = 0.5 * logs.astype(np.float64) - 0.5 * wide * wide / wide_inverse
    total = np.log(weights.astype(np.float64)).astype(np.float32) + offset
    for dimension in range(scaled.shape[1]):
        total = (total.astype(np.float64) + terms[:, dimension]).astype(np.float32)
    return total


def _read_gmm(reader: BinaryReader) -> DiagGmm:
    reader.expect("<DiagGMM>")
    gconsts = None
    if reader.peek_token() == "<GCONSTS>":
        reader.token()
        gconsts = reader.vector()
    reader.expect("<WEIGHTS>")
    weights = reader.vector()
    reader.expect("<MEANS_INVVARS>")
    means_invvars = reader.matrix().astype(np.float64)
    reader.expect("<INV_VARS>")
    variances = 1.0 / reader.matrix().astype(np.float64)
    reader.expect("</DiagGMM>")
    return DiagGmm(weights, means_invvars * variances, variances, gconsts)


def _write_gmm(writer: BinaryWriter, gmm: DiagGmm) -> None:
    # Single precision after the division in double: a model read and written again keeps every bit.
    weights = gmm.weights.astype(np.float32)
    inv_vars = (1.0 / gmm.vars).astype(np.float32)
    means_invvars = (gmm.means / gmm.vars).astype(np.float32)
    writer.token("<DiagGMM>")
    writer.token("<GCONSTS>")
    writer.vector(_kept(gmm.gconsts, log_constants(weights, means_invvars, inv_vars)))
    writer.token("<WEIGHTS>")
    writer.vector(weights)
    writer.token("<MEANS_INVVARS>")
    writer.matrix(means_invvars)
    writer.token("<INV_VARS>")
    writer.matrix(inv_vars)
    writer.token("</DiagGMM>")


def _kept(stored: np.ndarray | None, computed: np.ndarray) -> np.ndarray:
    """The stored constants where they differ from the computed ones by rounding only, so that bytes stay."""
    if stored is None or stored.shape != computed.shape:
        return computed
    return np.where(np.abs(stored - computed) <= 2 * np.spacing(np.abs(computed)), stored, computed)
