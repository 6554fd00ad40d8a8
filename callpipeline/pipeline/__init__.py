"""The work itself: one recording's walk through its stages, and a batch of such walks.

Plain async functions that need storage, limits and engines together and report results as they come. Knows neither
Dagster nor HTTP; both sit on top of it.
"""
