"""The Airflow side of Nocturne: the DAG of a pipeline, its operators, and a local Airflow."""
