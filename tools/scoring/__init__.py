"""Scores beyond the four: of classes, of boundaries, of confidence, of images, of averages."""
