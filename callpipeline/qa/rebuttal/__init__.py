"""Rebuttal detection: did the owner object, and did the agent really try to turn it. Offline, from text alone.

``detect`` is the rule. ``corpus/`` holds the hand-written lines that it learnt from; add lines and run
``python -m callpipeline.qa.rebuttal.train``. Start reading at ``detector``.
"""

from callpipeline.qa.rebuttal.detector import NAME, RULE_VERSION, detect

__all__ = ["NAME", "RULE_VERSION", "detect"]
