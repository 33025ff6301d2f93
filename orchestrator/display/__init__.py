"""What a sweep looks like while it runs and at its end: live on a terminal, plain lines elsewhere, tables."""
