"""Two installations timed against each other in one job: cell by cell, in turns, until the answer is clear."""
