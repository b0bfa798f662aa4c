"""`python -m vnn_mondeq` is the command `vnn-mondeq`."""

from vnn_mondeq.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
