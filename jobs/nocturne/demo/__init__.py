"""The demo: real flights out of New York in 2013, and a real model of their delay."""
