"""How fast and how large things are on this machine, and against others on the same work."""

from __future__ import annotations

from odqa.bench.report import BenchError, Report

__all__ = ["BenchError", "Report"]
