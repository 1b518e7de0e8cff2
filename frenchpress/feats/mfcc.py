"""Mel-frequency cepstra as Kaldi computes them."""

from __future__ import annotations

import zlib

import kaldi_native_fbank as knf
import numpy as np

from frenchpress.common import UserError
from frenchpress.feats.options import MfccConfig

DEFAULT = MfccConfig(use_energy=False, dither=0.0)


def mfcc(samples: np.ndarray, rate: int, conf: MfccConfig = DEFAULT, utt: str = "") -> np.ndarray:
    """Features float32 [T, num_ceps] of samples [N] in the range of 16-bit integers.

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
    computer = knf.OnlineMfcc(native_options(conf))
    computer.accept_waveform(conf.sample_frequency, samples)
    computer.input_finished()
    return np.stack([computer.get_frame(t) for t in range(computer.num_frames_ready)])


def native_options(conf: MfccConfig) -> knf.MfccOptions:
    """The same options for kaldi-native-fbank; it is never to dither."""
    options = knf.MfccOptions()
    frame, mel = options.frame_opts, options.mel_opts
    frame.samp_freq = conf.sample_frequency
    frame.frame_length_ms, frame.frame_shift_ms = conf.frame_length, conf.frame_shift
    frame.dither = 0.0  # its generator cannot be seeded; `mfcc` adds the noise itself
    frame.preemph_coeff, frame.remove_dc_offset = conf.preemphasis_coefficient, conf.remove_dc_offset
    frame.window_type, frame.blackman_coeff = conf.window_type, conf.blackman_coeff
    frame.round_to_power_of_two, frame.snip_edges = conf.round_to_power_of_two, conf.snip_edges
    mel.num_bins, mel.low_freq, mel.high_freq = conf.num_mel_bins, conf.low_freq, conf.high_freq
    options.num_ceps, options.use_energy = conf.num_ceps, conf.use_energy
    options.energy_floor, options.raw_energy = conf.energy_floor, conf.raw_energy
    options.cepstral_lifter, options.htk_compat = conf.cepstral_lifter, conf.htk_compat
    return options
