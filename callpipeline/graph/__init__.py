"""The knowledge graph: text chunks, what is found in them, and what it adds up to over all recordings."""
