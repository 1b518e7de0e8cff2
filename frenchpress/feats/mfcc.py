"""Mel-frequency cepstra and log mel filterbanks as Kaldi computes them."""

from __future__ import annotations

import zlib

import kaldi_native_fbank as knf
import numpy as np

from frenchpress.common import UserError
from frenchpress.feats.options import MfccConfig

DEFAULT = MfccConfig(use_energy=False, dither=0.0)
KINDS = ("mfcc", "fbank")
"""Cepstra, and the logarithms of the energies of the mel filterbank that they are made of."""


def mfcc(samples: np.ndarray, rate: int, conf: MfccConfig = DEFAULT, utt: str = "", kind: str = "mfcc") -> np.ndarray:
    """Features float32 [T, num_ceps] of samples [N] in the range of 16-bit integers; or `kind` fbank [T, num_mel_bins].

    `utt` seeds the dither. UserError when the rate is not that of `conf` or the samples fill no frame.
    """
    if rate != conf.sample_frequency:
        raise UserError(f"{utt}: {rate} Hz, but --sample-frequency is {conf.sample_frequency:g}")
    samples = np.asarray(samples, np.float32)
    frames = conf.num_frames(len(samples))
    if frames < 1:
        raise UserError(f"{utt}: {len(samples)} samples are less than a frame of {conf.frame_length:g} ms")
    if conf.dither:
        noise = np.random.default_rng(zlib.crc32(utt.encode())).standard_normal(len(samples), np.float32)
        samples = samples + np.float32(conf.dither) * noise
    computer = native_computer(conf, kind)
    computer.accept_waveform(conf.sample_frequency, samples)
    computer.input_finished()
    return np.stack([computer.get_frame(t) for t in range(computer.num_frames_ready)])


def width(conf: MfccConfig, kind: str) -> int:
    """Numbers per frame."""
    return conf.num_ceps if kind == "mfcc" else conf.num_mel_bins


def native_computer(conf: MfccConfig, kind: str) -> knf.OnlineMfcc | knf.OnlineFbank:
    """What computes features of this kind in kaldi-native-fbank; it is never to dither."""
    options = knf.MfccOptions() if kind == "mfcc" else knf.FbankOptions()
    _set_frames(options, conf)
    if kind == "fbank":
        options.use_energy, options.use_log_fbank, options.use_power = False, True, True
        return knf.OnlineFbank(options)
    options.num_ceps, options.use_energy = conf.num_ceps, conf.use_energy
    options.cepstral_lifter = conf.cepstral_lifter
    return knf.OnlineMfcc(options)


def _set_frames(options: knf.MfccOptions | knf.FbankOptions, conf: MfccConfig) -> None:
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq = conf.sample_frequency
    frame.frame_length_ms, frame.frame_shift_ms = conf.frame_length, conf.frame_shift
    frame.dither = 0.0  # its generator cannot be seeded; `mfcc` adds the noise itself
    frame.preemph_coeff, frame.remove_dc_offset = conf.preemphasis_coefficient, conf.remove_dc_offset
    frame.window_type, frame.blackman_coeff = conf.window_type, conf.blackman_coeff
    frame.round_to_power_of_two, frame.snip_edges = conf.round_to_power_of_two, conf.snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = conf.num_mel_bins, conf.low_freq, conf.high_freq
    options.energy_floor, options.raw_energy = conf.energy_floor, conf.raw_energy
    options.htk_compat = conf.htk_compat
