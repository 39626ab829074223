"""What users run: scoring, inference and their shared command-line parts."""
