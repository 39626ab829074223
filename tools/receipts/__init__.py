"""What a figure came about with, and how it differs from what is there now."""
