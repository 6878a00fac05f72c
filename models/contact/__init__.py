"""Messages that anybody may leave."""
