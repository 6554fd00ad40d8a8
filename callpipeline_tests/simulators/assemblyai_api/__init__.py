"""AssemblyAI's pre-recorded API, version 2."""
