"""Where tokens are kept and shared. `base` is the protocol; each other module is one way to keep it."""
