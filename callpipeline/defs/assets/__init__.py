"""One module an asset: its spec, its checks, and what people see of a result in the UI.

What belongs here: names, descriptions, metadata. What does not: making the result (``pipeline.stages``).
"""
