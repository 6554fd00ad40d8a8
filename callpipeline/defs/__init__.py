"""Dagster's side of the house: partitions, resources, assets, checks, jobs, sensors.

Everything here is thin: it reads partitions, calls ``pipeline`` and records what came out. Rules, files and engines
live below and know nothing of Dagster.
"""
