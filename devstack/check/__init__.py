"""`./dev check`: the gates that every change must pass. One small module per gate, one line per gate in `gates.py`."""
