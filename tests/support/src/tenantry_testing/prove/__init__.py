"""The long campaigns: an operator that dies at every write, and one that nothing is spared."""
