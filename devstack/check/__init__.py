"""The gates that every change passes: `./dev check`. One small module per gate, one line per gate in `gates.py`."""
