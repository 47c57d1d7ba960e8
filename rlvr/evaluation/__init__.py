"""What an evaluation is made of: estimates, their intervals, rules that judge beside the run's, the command's run."""
