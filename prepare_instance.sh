#!/usr/bin/env bash
# VNN-COMP: prepare_instance.sh v1 CATEGORY ONNX VNNLIB
# Nothing to prepare. Always exits 0, because a failure would skip the rest of a category;
# an instance that cannot be read is reported by run_instance.sh.
exit 0
