"""When and how a token is replaced. Read slot.py first, then exchange.py."""
