"""Image generation with a trained network: images, sheets, videos."""
