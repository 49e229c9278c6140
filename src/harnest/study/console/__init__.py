"""What a study prints in the terminal."""
