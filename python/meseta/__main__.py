"""`python -m meseta` is the `meseta` command."""

from meseta.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
