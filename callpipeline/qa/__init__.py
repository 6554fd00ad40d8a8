"""Call quality: the verdicts, figures and reports that a quality analyst works with."""
