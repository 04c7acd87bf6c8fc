"""`python -m meseta.reference [FOLDER] [--check]`: write the generated pages, or say which are stale."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from meseta.reference import PAGES


def main() -> int:
    """Exit code 1 when a page is out of date under --check."""
    parser = argparse.ArgumentParser(prog="python -m meseta.reference")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/reference"))
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    stale = []
    for name, page in PAGES.items():
        path, text = given.folder / name, page()
        if given.check:
            if not path.is_file() or path.read_text("utf-8") != text:
                stale.append(str(path))
        else:
            path.write_text(text, "utf-8")
    for path in stale:
        print(f"{path} is out of date; run `python -m meseta.reference {given.folder}`.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
