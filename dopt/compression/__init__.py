"""Compressed models: which bits where, how they are made, and the folders they lie in."""
