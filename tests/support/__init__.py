"""What several test files share besides fixtures."""
