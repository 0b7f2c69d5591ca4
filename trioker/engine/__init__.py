"""What a container is: its life, its names, its streams. Knows no dialect and no kernel; asks other rooms through ``ports``."""
