"""Where data comes from: pictures, databases, transformations, reading ahead."""
