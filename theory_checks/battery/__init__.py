"""The parts of the batteries of compressors; `theory_checks.compressors` is the door."""
