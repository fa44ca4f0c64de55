"""A DAG that runs when a partition of flight_delay has come into force, whoever published it.

Copy it into your DAGs folder. Its runs have the partition's key; the event says what was
published.
"""

from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, task

scores = Asset("scores/flight_delay")

with DAG(
    "after_scores",
    schedule=PartitionedAssetTimetable(assets=scores),
    catchup=False,
    tags=["example"],
):

    @task(inlets=[scores])
    def tell(**context) -> None:
        for event in context["triggering_asset_events"][scores]:
            said = event.extra
            print(
                f"{said['partition']}: {said['rows_published']} rows of model version "
                f"{said['model_version']}, verdict {said['verdict']}, manifest {said['id']}"
            )

    tell()
