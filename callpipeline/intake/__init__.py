"""How recordings come in: which files are recordings, what is known about each, and what is still to do."""
