"""The `meseta` command. `main.py` is the list of commands; each command is a file of its own."""
