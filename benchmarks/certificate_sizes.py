"""Sizes of certificate files, and seconds to write, read and check them (docs/certificates.md).

    python benchmarks/certificate_sizes.py MODEL.onnx --images mnist_test_first1000.npz --eps 0.05
    python benchmarks/certificate_sizes.py MODEL.onnx --queries specs/digits_fc16/2.0/vnnlib/*l[2i]*

Images are those of ../shared/data (`images`, `labels`), clipped to [0, 1].
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np

from vnn_mondeq import api, vnnlib_io
from vnn_mondeq.certificate_file import Subject, certificate_bytes, parse_certificate


def queries(arguments: argparse.Namespace, model) -> Iterator:
    for path in arguments.queries:
        yield api.load_query(path)
    if arguments.images is None:
        return
    data = np.load(arguments.images)
    (input_shape,), (output_shape,) = model.inputs.values(), model.outputs.values()
    for image, label in zip(data["images"], data["labels"], strict=True):
        text = vnnlib_io.robustness_query(
            (image.reshape(-1) / 255.0).astype(np.float32),
            *(int(label), np.inf, arguments.eps),
            classes=output_shape[-1],
            clip=("0", "1"),
            input_shape=input_shape,
            output_shape=output_shape,
        )
        yield vnnlib_io.parse(text)


def measure(model, query, backend: str, timeout: float) -> tuple | None:
    """Type, kB, and seconds of verify, write, read and check; `None` where nothing is proved."""
    clock = [time.perf_counter()]
    proved = api.verify(model, query, backend=backend, timeout=timeout).certificate
    clock.append(time.perf_counter())
    if proved is None:
        return None
    data = certificate_bytes(proved, Subject("0" * 64, {}))
    clock.append(time.perf_counter())
    stored = parse_certificate(data)
    clock.append(time.perf_counter())
    again = api.check(model, query, stored.certificate).certificate
    clock.append(time.perf_counter())
    if again is None or again.margin != proved.margin:
        raise SystemExit("a certificate lost its margin in the file")
    return type(proved.certificate).__name__, len(data) / 1e3, *np.diff(clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--queries", nargs="*", default=[])
    parser.add_argument("--images")
    parser.add_argument("--eps", default="0.05")
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--timeout", type=float, default=8.0)
    arguments = parser.parse_args()
    model = api.load_model(arguments.model)
    found = []
    for _, query in zip(range(arguments.count), queries(arguments, model), strict=False):
        row = measure(model, query, arguments.backend, arguments.timeout)
        found += [] if row is None else [row]
    if not found:
        raise SystemExit("nothing was proved")
    kinds, size, *seconds = zip(*found, strict=True)
    print(f"{len(found)} proofs: {dict(Counter(kinds))}")
    print(f"kB: {min(size):.1f} to {max(size):.1f}, median {np.median(size):.1f}")
    for name, column in zip(("verify", "write", "read", "check"), seconds, strict=True):
        print(f"{name}: median {1e3 * np.median(column):.0f} ms, most {1e3 * max(column):.0f} ms")


if __name__ == "__main__":
    main()
