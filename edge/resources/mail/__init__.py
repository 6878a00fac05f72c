"""What operators do about mail, and what the mail provider tells us."""
