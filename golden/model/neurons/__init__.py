"""Neurons, a kind per file: what a step does."""
