"""What several commands share: the command line, progress, files, tables, pictures, nets."""
