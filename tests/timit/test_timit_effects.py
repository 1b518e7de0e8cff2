import numpy as np
import pytest

from timit.synth import effects

RATE = 16000


def sine(frequency, rate, seconds=1.0):
    time = np.arange(int(rate * seconds)) / rate
    return np.sin(2 * np.pi * frequency * time) * np.hanning(len(time))


def peak(signal, rate):
    return np.argmax(np.abs(np.fft.rfft(signal))) * rate / len(signal)


def test_resampling_keeps_a_tone_below_the_new_nyquist_frequency():
    np.testing.assert_allclose(effects.resample(sine(3000, 22050), 16000), sine(3000, 16000), atol=2e-3)


def test_resampling_removes_a_tone_above_it():
    assert np.abs(effects.resample(sine(9500, 22050), 16000)).max() < 1e-3


@pytest.mark.parametrize(("length", "expected"), [(1, 1), (11, 12), (97, 98), (16001, 16128)])
def test_fast_sizes_have_small_factors(length, expected):
    assert effects.fast_size(length) == expected


def test_formants_move_and_the_pitch_stays():
    pulses = np.zeros(RATE)
    pulses[::100] = 1.0  # 160 Hz
    time = np.arange(200) / RATE
    voice = np.convolve(pulses, np.exp(-1500 * time) * np.sin(2 * np.pi * 2000 * time))[:RATE]
    np.testing.assert_allclose(effects.warp_formants(voice, 1.0), voice, atol=1e-6)
    moved = effects.warp_formants(voice, 1.2)
    assert peak(voice, RATE) == pytest.approx(2000, abs=100)
    assert peak(moved, RATE) == pytest.approx(2400, abs=170)
    assert peak(moved, RATE) % 160 == pytest.approx(0, abs=2)


@pytest.mark.parametrize("slope", [0.0, 6.0])
def test_noise_has_the_asked_level(slope):
    speech = 1000 * np.sin(np.arange(RATE) * 0.2)
    noisy = effects.add_noise(speech, np.random.default_rng(0), RATE, 15.0, slope)
    assert 10 * np.log10(np.mean(speech**2) / np.mean((noisy - speech) ** 2)) == pytest.approx(15.0, abs=0.2)


def test_noise_falls_by_its_slope():
    silence = np.zeros(RATE)
    silence[0] = 1.0
    power = np.abs(np.fft.rfft(effects.add_noise(silence, np.random.default_rng(0), RATE, 0.0, 6.0))) ** 2
    octaves = [10 * np.log10(power[f : 2 * f].mean()) for f in (500, 1000, 2000)]
    np.testing.assert_allclose(np.diff(octaves), [-6, -6], atol=0.7)


def test_a_channel_without_colour_and_echoes_changes_nothing():
    response = effects.channel(np.random.default_rng(0), RATE, 0.0, -120.0, 0.2)
    np.testing.assert_allclose(effects.convolve(sine(700, RATE), response), sine(700, RATE), atol=1e-4)


def test_echoes_have_the_asked_level_and_no_delay():
    response = effects.channel(np.random.default_rng(0), RATE, 0.0, -10.0, 0.2)
    assert np.argmax(np.abs(response)) == 0
    assert 10 * np.log10(np.sum(response[10:] ** 2) / response[0] ** 2) == pytest.approx(-10, abs=0.1)


def test_a_coloured_channel_has_its_energy_at_the_beginning():
    response = effects.channel(np.random.default_rng(3), RATE, 5.0, -120.0, 0.2)
    assert np.sum(response[:16] ** 2) > 0.95 * np.sum(response**2)
