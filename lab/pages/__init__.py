"""Pages of docs/ that are written by a command, from what they tell of."""
