"""Image generation with a trained network: pictures, sheets, videos."""
