"""The speech service: recordings come in over HTTP, transcripts with speakers go out."""
