"""Clients: how services of objects are talked to. `contract.py` says what a client is; each other file is one kind.

They are imported when they are first used.
"""
