"""The demo: real flights out of New York in 2013, and a model of their delays."""
