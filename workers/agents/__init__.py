"""The agents: what they are (catalog), what they can do (tools), how they think (loop), whom they ask (provider)."""
