"""Benchmarks: ``python -m bench NAME [--scale small|full] [--json]``. Ratios and goals, never tests."""
