"""A whole VPC in which something is broken, and the judgement of what came of it."""
