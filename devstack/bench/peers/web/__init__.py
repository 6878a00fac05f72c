"""A FastAPI service as an experienced developer would write it. It uses our tables but none of our modules."""
