"""How dialogue files become sample calls: script (what is said), voices, effects, mixing, encoding, files."""
