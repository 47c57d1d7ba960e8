"""Reading and comparing answers: where they stand, what they mean, whether two mean the same."""
