"""Outside services, one module each. No other code calls them."""
