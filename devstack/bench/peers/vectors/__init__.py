"""LanceDB, the peer of the benchmark of vector stores."""
