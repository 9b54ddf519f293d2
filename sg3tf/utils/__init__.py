"""Utilities without a subject of their own: files, parallel work, random streams."""
