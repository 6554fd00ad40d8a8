"""Folders of recorded calls, hearings and podcasts become checked results."""
