"""Data sets: their files, walked and read; NYUDv2; the demo's."""
