"""Flask's settings of Airflow's login (`[fab] config_file`)."""

# Logins are counted, to slow down who guesses. One API server does that in its own memory.
RATELIMIT_STORAGE_URI = "memory://"
