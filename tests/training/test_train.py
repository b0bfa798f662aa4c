"""Training, small: it learns, its file is what was measured, and it can be repeated."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from vnn_mondeq.errors import InputError
from vnn_mondeq.progress import AbstractObserver, NullObserver
from vnn_mondeq.training.train import PRESETS, TrainSettings, preset, train

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra: train)")
pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra: train)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra: train)")


class Recorder(AbstractObserver):
    """Keeps what it is told."""

    def __init__(self):
        self.phases, self.events = [], []

    def phase(self, name):
        self.phases.append(name)

    def progress(self, done, total):
        assert 0 < done <= total

    def event(self, kind, **fields):
        self.events.append((kind, fields))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A digits network trained for a few epochs, its settings, and its recorder."""
    output = tmp_path_factory.mktemp("model") / "small.onnx"
    settings = TrainSettings("digits", "fc", 8, output, epochs=6, batch_size=32)
    recorder = Recorder()
    return settings, recorder, train(settings, recorder)


def test_training_learns_and_reports(small):
    settings, recorder, report = small
    assert report.losses[-1] < 0.3 * report.losses[0]
    assert report.accuracy > 0.85
    assert report.test_images == 360
    assert report.sha256 == hashlib.sha256(settings.output.read_bytes()).hexdigest()
    assert recorder.phases == ["load data", "train", "export", "measure"]
    assert len(recorder.events) == settings.epochs


def test_the_file_is_read_as_the_network_that_was_trained(small):
    from vnn_mondeq import api
    from vnn_mondeq.system.solve import FixpointSolver
    from vnn_mondeq.training.data import load_test_split

    settings, _, report = small
    model = api.load_model(settings.output)
    test = load_test_split("digits")
    x = test.images.reshape(len(test), -1).astype(np.float64)
    scores = model.system.output(FixpointSolver(model.system).solve(x).value, x)
    # The exact fixpoint and onnxruntime's float32 may differ in a tie at most.
    share = (scores.argmax(axis=1) == test.labels).mean()
    assert abs(share - report.accuracy) <= 1.0 / len(test)
    assert model.system.proof.modulus > 0.99 * settings.m


def test_the_same_seed_gives_the_same_file(small, tmp_path):
    settings, _, report = small
    state = torch.random.get_rng_state()
    again = train(replace(settings, output=tmp_path / "again.onnx"), NullObserver())
    assert again.sha256 == report.sha256
    # The caller's random numbers are its own.
    assert torch.equal(state, torch.random.get_rng_state())


def test_convolutional_networks_train_and_export(tmp_path):
    settings = TrainSettings(
        "digits", "conv", 4, tmp_path / "conv.onnx", epochs=2, batch_size=64, noise=0.1
    )
    report = train(settings, NullObserver())
    assert report.accuracy > 0.3
    assert report.losses[1] < report.losses[0]


def test_settings_are_checked(tmp_path):
    with pytest.raises(InputError, match="epochs"):
        TrainSettings("digits", "fc", 8, tmp_path / "x.onnx", epochs=0)
    with pytest.raises(InputError, match="architecture"):
        TrainSettings("digits", "rnn", 8, tmp_path / "x.onnx")
    with pytest.raises(InputError, match="does not exist"):
        train(TrainSettings("digits", "fc", 8, tmp_path / "no" / "x.onnx"), NullObserver())


def test_presets_are_known_by_name(tmp_path):
    assert set(PRESETS) == {"digits_fc16", "mnist_fc40", "mnist_fc87", "mnist_convsmall"}
    assert preset("mnist_fc40", tmp_path / "a.onnx").size == 40
    with pytest.raises(InputError, match="digits_fc16"):
        preset("nothing", tmp_path / "a.onnx")
