"""Learning rules, a kind per file."""
