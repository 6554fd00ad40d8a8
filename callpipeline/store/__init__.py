"""Where results live: atomic files, the result store, originals, the warehouse, and what keeps them tidy."""
