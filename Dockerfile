# The images of ours. runtime: Java, the locked environment, Nocturne; Airflow, MLflow and Spark
# run from it, and nothing is installed when a container starts. development: runtime and the
# tools of tests/requirements.lock. object-store: Garage with a shell, which reads its secrets.
#
# Layers change by how often what they hold does: packages, torch, our own code. Each is made in a
# stage of its own, from which only the new files are copied.
#
# Wheels in a folder wheels/ beside this file are taken before those of a registry; with
# --build-arg OFFLINE=true no registry is asked (docs/compose.md).
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG GARAGE_IMAGE=dxflrs/garage:v2.4.1
# Where Java and the packages are made; it may have more tools than what runs should have.
ARG BUILD_IMAGE=${PYTHON_IMAGE}


FROM ${GARAGE_IMAGE} AS garage


FROM ${PYTHON_IMAGE} AS object-store
COPY --from=garage /garage /garage
# Volumes take over the owner of the folder that they cover: no step as root is needed later.
RUN useradd --uid 10001 --create-home nocturne \
 && install -d -o nocturne -g nocturne /var/lib/garage
USER nocturne


# Debian's Java 17, compressed, without its compiler and tools: 110 MB less than its package. The
# second command makes the archive of classes with which a JVM starts faster. (The package links a
# manual page into a folder that slim images may lack.)
FROM ${BUILD_IMAGE} AS java
RUN mkdir -p /usr/share/man/man1 \
 && if ! command -v jlink; then \
      apt-get update && apt-get install --yes --no-install-recommends openjdk-17-jdk-headless; fi
RUN modules=$(java --list-modules | sed 's/@.*//' | grep -vE \
      '^jdk\.(compiler|editpad|hotspot\.agent|jartool|javadoc|jconsole|jdeps|jdi|jlink|jpackage|jshell|jstatd|internal\..*)$') \
 && jlink --add-modules "$(echo $modules | tr ' ' ,)" --no-header-files --no-man-pages --compress=2 \
      --output /opt/java \
 && /opt/java/bin/java -Xshare:dump \
 && cp /etc/ssl/certs/java/cacerts /opt/java/lib/security/cacerts


FROM ${BUILD_IMAGE} AS packages
ARG UV_VERSION=0.13.9
ARG OFFLINE=false
ENV VIRTUAL_ENV=/opt/venv \
    UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_FIND_LINKS=/build/wheels \
    PIP_FIND_LINKS=/build/wheels \
    UV_OFFLINE=${OFFLINE} \
    PIP_NO_INDEX=${OFFLINE}
WORKDIR /build
# The pattern matches the folder where there is one; the lock, which always is there, keeps COPY
# from failing where there is none.
COPY requirements.lock wheel[s] wheels/
RUN pip install --no-cache-dir --root-user-action=ignore "uv==${UV_VERSION}" \
 && python -m venv /opt/venv
COPY conf/compose/trim.py conf/compose/added.sh ./
# All but torch come from the lock alone, without dependencies, so that pyspark-client, which
# writes into pyspark's own folder, stays out.
RUN grep -v '^torch==' wheels/requirements.lock > without-torch.txt \
 && uv pip install --no-deps -r without-torch.txt \
 && python trim.py /opt/venv/lib/python3.11/site-packages \
      matplotlib numba numpy pandas pyarrow pyspark scipy sklearn sympy


# The one package installed with its dependencies: they differ from build to build.
FROM packages AS torch
# Which torch: cpu, or CUDA's by number (cu130, ...); `uv pip install --help` lists them. A wheel
# of torch in wheels/ is taken whatever this says.
ARG TORCH_BACKEND=cpu
RUN command -v strip || (apt-get update && apt-get install --yes --no-install-recommends binutils)
RUN touch /before \
 && if ls wheels/torch-*.whl; then unset UV_TORCH_BACKEND; else export UV_TORCH_BACKEND="${TORCH_BACKEND}"; fi \
 && uv pip install -c wheels/requirements.lock "$(grep '^torch==' wheels/requirements.lock)" \
 && python trim.py /opt/venv/lib/python3.11/site-packages torch \
 && bash added.sh


FROM packages AS code
COPY tests/requirements.lock ./
RUN uv pip install --target /opt/hatchling -c requirements.lock -c wheels/requirements.lock hatchling
COPY pyproject.toml README.md ./
COPY jobs jobs
COPY plugins plugins
RUN touch /before \
 && PYTHONPATH=/opt/hatchling UV_COMPILE_BYTECODE=0 uv pip install --no-deps --no-build-isolation . \
 && python -m compileall -q /opt/venv/lib/python3.11/site-packages/nocturne \
      /opt/venv/lib/python3.11/site-packages/nocturne_airflow \
 && bash added.sh


FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --uid 10001 --create-home nocturne \
 && install -d -o nocturne -g nocturne \
      /opt/airflow /opt/airflow/logs /opt/nocturne/var /opt/scratch \
      /opt/volumes /opt/volumes/data /opt/volumes/garage
ENV PATH=/opt/venv/bin:/opt/java/bin:$PATH \
    JAVA_HOME=/opt/java \
    AIRFLOW_HOME=/opt/airflow \
    NOCTURNE_HOME=/opt/nocturne
WORKDIR /opt/nocturne
COPY --from=java /opt/java /opt/java
COPY --from=packages /opt/venv /opt/venv
COPY --from=torch /new/opt/venv /opt/venv
COPY --from=code /new/opt/venv /opt/venv
COPY requirements.lock ./
COPY conf conf
COPY dags dags
# The package is in the environment; spark-submit and Airflow want only these as files.
COPY jobs/score.py jobs/score.py
COPY plugins/.airflowignore plugins/nocturne_plugin.py plugins/
# Spark's configuration folder in containers; its secret is mounted beside the file.
COPY conf/spark/log4j2.properties /opt/spark/
USER nocturne
WORKDIR /opt/airflow


FROM packages AS tools
COPY tests/requirements.lock ./
RUN touch /before \
 && uv pip install --no-deps -r requirements.lock \
 && bash added.sh


# The checkout is mounted at /src; its code comes before the image's.
FROM runtime AS development
COPY --from=tools /new/opt/venv /opt/venv
ENV PYTHONPATH=/src/jobs:/src/plugins:/src \
    NOCTURNE_HOME=/src
WORKDIR /src
