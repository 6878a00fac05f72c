"""The places in which agents run code, and which agent has which."""
