"""What a reader sees before anything is unfolded: one sentence, one picture, one table."""
