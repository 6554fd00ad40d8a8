"""Speech: what was said (``engines``), who spoke when (``diarizers``), and both together (``turns``).

What belongs here: everything that turns a recording and its voice activity into text with speakers. What does
not: decoding and voice detection (``audio``), verdicts about what was said (``qa``), where results are kept.
"""
