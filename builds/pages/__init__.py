"""What the pages about builds show, as plain values for their templates."""
