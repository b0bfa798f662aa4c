"""Time to read a VNN-LIB text into a query: 784 inputs (limit 0.1 s), 150,000 inputs (5 s).

    python benchmarks/parse_speed.py

The first line includes importing the parser and building its tables, as a process pays for them.
"""

import time

from vnn_mondeq.vnnlib_io import parse


def robustness_text_v1(inputs: int, classes: int = 10) -> str:
    """A 1.0 robustness query with two bounds for each input."""
    lines = [f"(declare-const X_{i} Real)" for i in range(inputs)]
    lines += [f"(declare-const Y_{j} Real)" for j in range(classes)]
    for i in range(inputs):
        middle = i % 9973 / 10000
        lines.append(f"(assert (>= X_{i} {middle - 0.05:.9f}))")
        lines.append(f"(assert (<= X_{i} {middle + 0.05:.9f}))")
    alternatives = " ".join(f"(and (<= Y_0 Y_{j}))" for j in range(1, classes))
    return "\n".join([*lines, f"(assert (or {alternatives}))"])


def robustness_text_v2(inputs: int, classes: int = 10) -> str:
    """The same in 2.0."""
    lines = [
        "(vnnlib-version <2.0>)",
        f"(declare-network f (declare-input X float32 [1,{inputs}])",
        f"(declare-output Y float32 [1,{classes}]))",
    ]
    for i in range(inputs):
        middle = i % 9973 / 10000
        lines.append(f"(assert (>= X[0,{i}] {middle - 0.05:.9f}))")
        lines.append(f"(assert (<= X[0,{i}] {middle + 0.05:.9f}))")
    alternatives = " ".join(f"(and (<= Y[0,0] Y[0,{j}]))" for j in range(1, classes))
    return "\n".join([*lines, f"(assert (or {alternatives}))"])


def main() -> None:
    """Print one line for each text."""
    for inputs in (784, 150_000):
        for version, write in (("1.0", robustness_text_v1), ("2.0", robustness_text_v2)):
            text = write(inputs)
            wall, processor = time.perf_counter(), time.process_time()
            query = parse(text)
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            print(
                f"{inputs:>7} inputs, version {version}, {len(text) / 1e6:5.1f} MB, "
                f"{len(query.cases)} cases: {wall:.3f} s ({processor:.3f} s of processor)"
            )


if __name__ == "__main__":
    main()
