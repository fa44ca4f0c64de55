"""The lineage of a published partition in OpenLineage's format, without an agent in Spark's JVM.

Datasets are tables (namespace ``file``, absolute path; ``s3://bucket``, key); their subset facets
name the partition.
https://openlineage.io/docs/spec/naming, https://openlineage.io/docs/spec/facets
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nocturne_airflow.credentials import lent

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from nocturne.objects import Location
    from nocturne.records.manifest import Judgement, Manifest
    from nocturne.records.partition import Partition
    from nocturne.records.plan import RunPlan
    from nocturne.records.quality import Expectation
    from nocturne.store.run import Run
    from nocturne.table_formats.protocol import TablePartition

__all__ = ["Traced", "lineage"]


class Traced:
    """An operator that may publish a partition; ``manifest`` is the file of the manifest.

    The OpenLineage provider, if it is installed and has a transport, calls it when the task ends.
    """

    manifest: str = ""
    connection: str | None = None

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> OperatorLineage | None:
        from nocturne.objects import location

        if not self.manifest:
            return None
        with lent(self.connection):
            return lineage(location(self.manifest))


def lineage(path: Location) -> OperatorLineage:
    """Input and output tables of published scores, with schemas, counts, checks and the model."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    from nocturne.records.manifest import Manifest  # with Arrow: not for parsing DAGs
    from nocturne.store.partition_state import PartitionState
    from nocturne.store.record_files import read
    from nocturne.store.run import Run
    from nocturne.table import table_of

    manifest = read(Manifest, path)
    run = Run.open(PartitionState.of_manifest(path, manifest).stored(manifest.run).parent)
    judgement = run.judgement()
    return OperatorLineage(
        inputs=[_input(run, manifest, judgement), *_joined(run.plan)],
        outputs=[_output(run.plan, manifest, judgement, table_of(run))],
        run_facets={"nocturne": _run_facet(_facts(path, manifest, run.mlflow_run_id()))},
    )


def _input(run: Run, manifest: Manifest, judgement: Judgement) -> Any:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import base_subset_dataset as subset
    from openlineage.client.facet_v2 import data_quality_metrics_input_dataset as metrics

    from nocturne.objects import location

    plan = run.plan
    columns = {
        name: metrics.ColumnMetrics(
            nullCount=column.null + column.nan,
            count=float(column.rows),
            min=None if name in plan.sensitive else column.minimum,
            max=None if name in plan.sensitive else column.maximum,
        )
        for name, column in run.profile.columns.items()
        if name not in manifest.score_summary
    }
    return InputDataset(
        *_table(location(plan.input_dir), plan.partition),
        facets=_schema(plan.input_file(plan.files[0].path)) if plan.files else {},
        inputFacets={
            "dataQualityMetrics": metrics.DataQualityMetricsInputDatasetFacet(
                columns, manifest.rows_in, sum(f.size for f in plan.files), len(plan.files)
            ),
            "dataQualityAssertions": _assertions(judgement, "input"),
            "subset": subset.InputSubsetInputDatasetFacet(_condition(plan.partition)),
        },
    )


def _joined(plan: RunPlan) -> list[Any]:
    """The other tables in the run's query."""
    from openlineage.client.event_v2 import InputDataset

    tables = plan.query.tables if plan.query else {}
    return [InputDataset("file", path) for _, path in sorted(tables.items())]


def _output(plan: RunPlan, manifest: Manifest, judgement: Judgement, table: TablePartition) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import base_subset_dataset as subset
    from openlineage.client.facet_v2 import dataset_version_dataset as version
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    size = sum(f.size for f in manifest.outputs)
    return OutputDataset(
        *_table(table.location, plan.partition),
        facets={
            **(_schema(table.file(manifest.outputs[0].path)) if manifest.outputs else {}),
            "version": version.DatasetVersionDatasetFacet(manifest.id),
            "dataQualityAssertions": _assertions(judgement, "output"),
        },
        outputFacets={
            "outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(
                manifest.rows_published, size, len(manifest.outputs)
            ),
            "subset": subset.OutputSubsetOutputDatasetFacet(_condition(plan.partition)),
        },
    )


def _table(folder: Location, partition: Partition) -> tuple[str, str]:
    """The namespace and the name of the table that has a partition's folder."""
    from nocturne.objects import ObjectPath

    for _ in partition.keys:
        folder = folder.parent
    return (folder.root, folder.key) if isinstance(folder, ObjectPath) else ("file", str(folder))


def _condition(partition: Partition) -> Any:
    from openlineage.client.facet_v2 import base_subset_dataset as subset

    subset_partition = subset.Partition(dict(partition.keys), partition.key)
    return subset.PartitionSubsetCondition([subset_partition])


def _schema(file: Location) -> dict[str, Any]:
    """The schema of a Parquet file; empty for other files."""
    from openlineage.client.facet_v2 import schema_dataset

    from nocturne.errors import NocturneError
    from nocturne.source.reading import read_footer

    try:
        schema = read_footer(file).schema.to_arrow_schema()
    except NocturneError:
        return {}
    fields = [schema_dataset.SchemaDatasetFacetFields(f.name, str(f.type)) for f in schema]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields)}


def _assertions(judgement: Judgement, suite: str) -> Any:
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as assertions

    expectations: Iterable[Expectation] = judgement.quality.expectations
    return assertions.DataQualityAssertionsDatasetFacet(
        [
            assertions.Assertion(e.type, e.success, e.column)
            for e in expectations
            if e.suite == suite
        ]
    )


def _facts(path: Location, manifest: Manifest, mlflow_run_id: str | None) -> dict[str, Any]:
    return {
        "manifest": str(path),
        "manifestId": manifest.id,
        "partition": manifest.partition.key,
        "model": manifest.model.name,
        "modelVersion": manifest.model.version,
        "modelSha256": manifest.model.sha256,
        "mlflowRunId": mlflow_run_id,
        "arms": [vars(arm) for arm in manifest.arms.arms] if manifest.arms else [],
        "verdict": manifest.verdict,
        "rowsQuarantined": manifest.rows_quarantined,
        "approvedBy": manifest.approved_by,
    }


def _run_facet(facts: dict[str, Any]) -> Any:
    """The run facet with the model and the manifest.

    Its class is created here, since OpenLineage may not be installed.
    """
    import attr
    from openlineage.client.facet_v2 import RunFacet

    return attr.make_class("NocturneRunFacet", list(facts), bases=(RunFacet,))(**facts)
