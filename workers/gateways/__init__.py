"""Outside services, one module each: the only places that speak to them."""
