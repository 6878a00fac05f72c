"""Benchmarks: Longshore compared with a peer or a direct call in the same run. On a busy machine rely on CPU per request, not on times."""
