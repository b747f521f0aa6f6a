"""The page of sweeps: one HTML file that needs neither a server nor a network."""

from genclspp.report.page.build import make
from genclspp.report.page.content import Outstanding

__all__ = ["Outstanding", "make"]
