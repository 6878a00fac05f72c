"""The agents: their declarations (catalog), their tools, the loop that runs them, and the model provider."""
