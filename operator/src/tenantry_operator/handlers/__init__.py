"""Where kopf ends: its watch events become keys in our queue."""
