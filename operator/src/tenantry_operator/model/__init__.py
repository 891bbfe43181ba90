"""Values: what is desired, what was observed. Nothing here reaches the world."""
