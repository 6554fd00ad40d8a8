"""Providers in the cloud, spoken to through their official SDKs and answered for in our own failures.

What belongs here: one module for each provider: requests, answers, and which failure an exception is. What
does not: limits, money, and what is done with an answer. Nobody else imports an SDK.
"""
