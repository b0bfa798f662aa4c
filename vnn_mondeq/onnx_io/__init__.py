"""The ONNX front end: operator, exporter, importer, replay. The only room that imports `onnx`."""

from vnn_mondeq.onnx_io.load import LoadedModel, load

__all__ = ["LoadedModel", "load"]
