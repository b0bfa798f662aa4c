"""Training a monDEQ classifier and writing it as ONNX.

Cross-entropy, AdamW with a one-cycle learning rate, gradients by implicit differentiation
(`layers.py`). Deterministic for a seed and a number of threads on one machine; another machine or
another version of torch gives other weights of the same quality.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, final

import numpy as np

from vnn_mondeq.errors import InputError
from vnn_mondeq.progress import AbstractObserver
from vnn_mondeq.training.data import DataSet, Split, load_data_set

if TYPE_CHECKING:
    from torch import Tensor, nn

_TEST_BATCH = 500


@final
@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What to train and how.

    - `data`: `"digits"` or `"mnist"`.
    - `architecture`, `size`, `m`: see `NetworkShape`.
    - `learning_rate`: the peak of the one-cycle schedule.
    - `weight_decay`: decoupled from the gradient (AdamW); smaller norms, easier to verify.
    - `noise`: half-width of the uniform noise added to training pixels; wider margins.
    - `threads`: of torch; with it the result is reproducible.
    - `output`: the ONNX file to write.
    """

    data: str
    architecture: str
    size: int
    output: Path
    m: float = 20.0
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 2e-2
    weight_decay: float = 0.0
    noise: float = 0.0
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("size", "epochs", "batch_size", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("m", "learning_rate"):
            if not getattr(self, name) > 0.0:
                raise InputError(f"{name} must be positive, not {getattr(self, name)}")
        if self.architecture not in ("fc", "conv"):
            raise InputError(f"architecture must be fc or conv, not {self.architecture!r}")


_MNIST = TrainSettings("mnist", "fc", 1, Path(), weight_decay=0.05, noise=0.4)

PRESETS: Mapping[str, TrainSettings] = MappingProxyType(
    {
        "digits_fc16": TrainSettings(
            *("digits", "fc", 16, Path("digits_fc16.onnx")),
            epochs=40,
            batch_size=32,
            weight_decay=0.05,
            noise=0.2,
        ),
        "mnist_fc40": replace(_MNIST, size=40, output=Path("mnist_fc40.onnx")),
        "mnist_fc87": replace(_MNIST, size=87, output=Path("mnist_fc87.onnx")),
        "mnist_convsmall": replace(
            _MNIST, architecture="conv", size=8, output=Path("mnist_convsmall.onnx"), epochs=6
        ),
    }
)
"""The settings of the models in `onnx_models/`, by name."""


def preset(name: str, output: Path) -> TrainSettings:
    """The settings of a shipped model, written to `output`. **Raises** `InputError`."""
    if name not in PRESETS:
        raise InputError(f"unknown model {name!r}; known: {', '.join(sorted(PRESETS))}")
    return replace(PRESETS[name], output=output)


@final
@dataclass(frozen=True, slots=True)
class TrainReport:
    """What came out.

    - `accuracy`: share of the whole test split that the *exported file* classifies correctly in
      onnxruntime; `test_images` their number.
    - `losses`: mean training loss of each epoch.
    - `sha256`: of the file.
    """

    path: Path
    accuracy: float
    test_images: int
    sha256: str
    seconds: float
    losses: tuple[float, ...] = field(default=())


def train(settings: TrainSettings, observer: AbstractObserver) -> TrainReport:
    """Train, export, and measure the file.

    **Raises** `InputError` when torch, the data set, or the output's folder is missing,
    `OutputError` when the file cannot be written.
    """
    began = time.monotonic()
    torch = _import_torch()
    from vnn_mondeq.training.networks import NetworkShape, build_network

    if not settings.output.parent.is_dir():
        raise InputError(f"the folder {settings.output.parent} does not exist; create it first")
    observer.phase("load data")
    data = load_data_set(settings.data)
    shape = NetworkShape(settings.architecture, settings.size, settings.m)
    torch.set_num_threads(settings.threads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(shape, data)
        losses = fit(network, data, settings, observer)
    observer.phase("export")
    export_network(network, data, settings)
    observer.phase("measure")
    content = settings.output.read_bytes()
    images, labels = _network_inputs(settings, data.test)
    return TrainReport(
        settings.output,
        measure_accuracy(content, images.numpy(), labels.numpy()),
        len(data.test),
        hashlib.sha256(content).hexdigest(),
        time.monotonic() - began,
        losses,
    )


def fit(
    network: "nn.Module", data: DataSet, settings: TrainSettings, observer: AbstractObserver
) -> tuple[float, ...]:
    """Train in place with torch's current random state; returns the mean loss of each epoch."""
    import torch

    images, labels = _network_inputs(settings, data.training)
    per_epoch = max(1, len(labels) // settings.batch_size)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.epochs * per_epoch
    )
    observer.phase("train")
    losses = []
    for epoch in range(settings.epochs):
        order = torch.randperm(len(labels))
        total = 0.0
        for step in range(per_epoch):
            chosen = order[step * settings.batch_size : (step + 1) * settings.batch_size]
            batch = images[chosen]
            if settings.noise > 0.0:
                batch = batch + settings.noise * (2.0 * torch.rand_like(batch) - 1.0)
            loss = torch.nn.functional.cross_entropy(network(batch), labels[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
            observer.progress(epoch * per_epoch + step + 1, settings.epochs * per_epoch)
        losses.append(total / per_epoch)
        observer.event("epoch", number=epoch + 1, loss=losses[-1])
    return tuple(losses)


def export_network(network: "nn.Module", data: DataSet, settings: TrainSettings) -> None:
    """Write the network with our operator, batch dimension left open."""
    from vnn_mondeq.onnx_io.torch_export import export_module

    images, _ = _network_inputs(settings, Split(data.test.images[:1], data.test.labels[:1]))
    export_module(network.eval(), images, settings.output)


def measure_accuracy(model_bytes: bytes, images: np.ndarray, labels: np.ndarray) -> float:
    """The share of `images`, shaped as the model takes them, that onnxruntime classifies as
    `labels (N,)`; the model has one input and one output, with a free batch dimension."""
    from vnn_mondeq.onnx_io.replay import Replay

    session = Replay(model_bytes)
    (name,) = session.inputs
    correct = 0
    for start in range(0, len(labels), _TEST_BATCH):
        part = slice(start, start + _TEST_BATCH)
        (scores,) = session.run({name: np.ascontiguousarray(images[part])}).values()
        correct += int((scores.argmax(axis=1) == labels[part]).sum())
    return correct / len(labels)


def _network_inputs(settings: TrainSettings, split: Split) -> tuple["Tensor", "Tensor"]:
    import torch

    images = torch.from_numpy(split.images)
    if settings.architecture == "fc":
        images = images.flatten(1)
    return images, torch.from_numpy(split.labels)


def _import_torch():
    try:
        import torch
    except ImportError as error:
        raise InputError(
            "training needs PyTorch, which is not installed: pip install 'vnn-mondeq[train]'"
        ) from error
    return torch
