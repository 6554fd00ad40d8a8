"""What a recording sounds like: decoding, the facts of one full decode, speech by channel, a small picture.

What belongs here: everything that reads audio samples. What does not: words, speakers' identities, verdicts,
and anything that knows where recordings come from or where results are kept.
"""
