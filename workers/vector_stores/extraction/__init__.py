"""Reading strangers' files: in a child process that can do little else. `process.py` is the worker's side.

What the child runs (`child.py` and all it imports) imports nothing of the platform: no settings, no database.
"""
