"""Benchmarks: the library beside what a researcher would write instead, in one run."""
