"""What people do with nights that are there: look, decide, verify, go back, clean up."""
