"""Reading audio: whatever the samples are stored as, they come out as 16-bit integers."""

import numpy as np
import pytest
import soundfile

from frenchpress.kaldi.audio import read_audio

SAMPLES = (12000 * np.sin(np.arange(800) / 7)).astype(np.int16)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_sample_is_scaled_alike(tmp_path, subtype):
    soundfile.write(tmp_path / "a.wav", SAMPLES / 32768, 16000, subtype=subtype)
    read = read_audio("a.wav", near=tmp_path, where="wav.scp:1: a", rate=16000)
    assert np.array_equal(read, SAMPLES)


def test_floats_beyond_the_range_are_clipped(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([2.0, -2.0, 0.5]), 16000, subtype="FLOAT")
    read = read_audio("a.wav", near=tmp_path, where="wav.scp:1: a", rate=16000)
    assert read.tolist() == [32767, -32768, 16384]
