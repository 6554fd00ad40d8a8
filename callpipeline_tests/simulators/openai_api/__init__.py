"""OpenAI's API, version 1, as far as a pipeline of calls needs it."""
