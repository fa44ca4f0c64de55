"""The page Scoring in Airflow's UI: the status of every partition of every pipeline."""
