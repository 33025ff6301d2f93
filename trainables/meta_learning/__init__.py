"""What S4 learns beside the student: temperatures and weights, by held-out rows or against the student."""
