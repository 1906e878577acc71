"""What a person starts beside the agents."""
