#!/usr/bin/env bash
# VNN-COMP: install_tool.sh v1
# Creates ./.venv beside this script and installs the verifier into it. Needs python3 (3.11 or
# newer) with venv, and a package index. Safe to run again.
set -euo pipefail

if [ "$#" -lt 1 ] || [ "$1" != v1 ]; then
    echo "usage: install_tool.sh v1" >&2
    exit 2
fi
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "needs Python 3.11")'
[ -x "$here/.venv/bin/python" ] || "$python" -m venv "$here/.venv" < /dev/null
"$here/.venv/bin/python" -m pip install --quiet --editable "$here" < /dev/null
"$here/.venv/bin/vnn-mondeq" --version
