"""Commands that generate pictures and videos."""
