"""What training and inference will take: memory, time, disk."""
