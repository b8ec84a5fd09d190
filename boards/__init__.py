"""Where it runs: board tops, the host driver, and a simulated board."""
