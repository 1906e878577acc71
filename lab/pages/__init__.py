"""The pages of docs/ that a command writes from their sources: settings, runs, screenshots."""
