# One image for Airflow, MLflow and Spark: Java, the locked environment, Nocturne. Nothing is
# installed when a container starts.

FROM python:3.11-slim-bookworm AS environment
ARG UV_VERSION=0.13.9
# Which torch: cpu, or CUDA's by number (cu130, ...); `uv pip install --help` lists them.
ARG TORCH_BACKEND=cpu
ENV VIRTUAL_ENV=/opt/venv \
    UV_COMPILE_BYTECODE=1 \
    UV_NO_CACHE=1 \
    UV_TORCH_BACKEND=${TORCH_BACKEND}
RUN pip install --no-cache-dir --root-user-action=ignore "uv==${UV_VERSION}" \
 && python -m venv /opt/venv
WORKDIR /build
# torch is the one package installed with its dependencies: they differ from build to build. All
# others come from the lock alone, without dependencies, so that pyspark-client, which writes
# into pyspark's own folder, stays out.
COPY requirements.lock ./
RUN grep -v '^torch==' requirements.lock > without-torch.txt \
 && uv pip install --no-deps -r without-torch.txt \
 && uv pip install -c requirements.lock "$(grep '^torch==' requirements.lock)"
COPY pyproject.toml README.md ./
COPY jobs jobs
COPY plugins plugins
RUN uv pip install --no-deps --no-build-isolation .


FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
 && rm -rf /var/lib/apt/lists/*
# Volumes take over the owner of the folder that they cover: no step as root is needed later.
RUN useradd --uid 10001 --create-home nocturne \
 && install -d -o nocturne -g nocturne /opt/airflow /opt/airflow/logs /opt/nocturne/var
ENV PATH=/opt/venv/bin:$PATH \
    AIRFLOW_HOME=/opt/airflow \
    NOCTURNE_HOME=/opt/nocturne
COPY --from=environment /opt/venv /opt/venv
WORKDIR /opt/nocturne
COPY requirements.lock ./
COPY conf conf
COPY dags dags
# The package is in the environment; spark-submit and Airflow want only these as files.
COPY jobs/score.py jobs/score.py
COPY plugins/.airflowignore plugins/nocturne_plugin.py plugins/
USER nocturne
WORKDIR /opt/airflow
