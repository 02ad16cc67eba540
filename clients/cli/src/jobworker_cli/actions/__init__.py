"""What the verbs do once their command lines are read."""
