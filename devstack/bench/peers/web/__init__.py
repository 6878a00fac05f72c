"""A FastAPI service as an experienced developer would write it. It knows nothing of our modules, only of our tables."""
