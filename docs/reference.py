"""Build the API reference: one HTML page a module, from the docstrings.

    python docs/reference.py SITE

Modules that need an optional package which is not there are left out and named; anything else that
pdoc complains about is an error.
"""

import argparse
import importlib
import pkgutil
import warnings
from pathlib import Path

import pdoc.doc
import pdoc.render

import vnn_mondeq

_OPTIONAL = {"torch", "onnxscript", "onnx2torch", "distributed"}
"""Packages of the extras that some modules import at their top."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="folder to write")
    count, left_out = build(parser.parse_args().site)
    print(f"{count} modules" + "".join(f"; without {text}" for text in left_out))


def build(site: Path, only: tuple[str, ...] | None = None) -> tuple[int, list[str]]:
    """Write the pages of all modules, or of `only` these; returns their number and what is left
    out. **Raises** `UserWarning` for a name that cannot be documented."""
    show_lazy_names()
    modules, left_out = {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        for name in module_names():
            if only is not None and name not in only:
                continue
            try:
                modules[name] = pdoc.doc.Module(importlib.import_module(name))
            except ModuleNotFoundError as error:
                if error.name not in _OPTIONAL:
                    raise
                left_out.append(f"{name} ({error.name} is not installed)")
        footer = f"vnn-mondeq {vnn_mondeq.__version__}"
        pdoc.render.configure(docformat="markdown", show_source=False, footer_text=footer)
        for name, module in modules.items():
            write(site / f"{name.replace('.', '/')}.html", pdoc.render.html_module(module, modules))
        write(site / "index.html", pdoc.render.html_index(modules))
        write(site / "search.js", pdoc.render.search_index(modules))
    return len(modules), left_out


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def module_names() -> list[str]:
    """Every module of the package but the one that runs when it is imported."""
    found = pkgutil.walk_packages(vnn_mondeq.__path__, "vnn_mondeq.", onerror=lambda name: None)
    return ["vnn_mondeq", *sorted(m.name for m in found if not m.name.endswith("__main__"))]


def show_lazy_names() -> None:
    """`vnn_mondeq` imports its names when they are first used; pdoc looks without using them, and
    lists only those rooms that `__all__` names."""
    for name in vnn_mondeq.__all__:
        setattr(vnn_mondeq, name, getattr(vnn_mondeq, name))
    rooms = [m.name for m in pkgutil.iter_modules(vnn_mondeq.__path__) if m.name != "__main__"]
    vnn_mondeq.__all__ = list(dict.fromkeys([*vnn_mondeq.__all__, *sorted(rooms)]))


if __name__ == "__main__":
    main()
