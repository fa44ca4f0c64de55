"""The page Scoring inside Airflow's UI: how every partition of every pipeline stands."""
