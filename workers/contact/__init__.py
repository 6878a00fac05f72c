"""What becomes of messages of the contact form after they were stored."""
