"""How margins are bounded: attacks from above, relaxations from below."""
