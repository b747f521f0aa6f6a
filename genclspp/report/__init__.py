"""Readers of records: what comes out of a sweep, for people."""
