"""What happened: builds, their records, and the workers that run them."""
