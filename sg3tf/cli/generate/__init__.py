"""Commands that generate images and videos."""
