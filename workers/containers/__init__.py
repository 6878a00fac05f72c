"""What is done about containers at the provider."""
