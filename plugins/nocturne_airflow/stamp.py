"""What Airflow's database was initialised for, as a comment on the database.

``python -m nocturne_airflow.stamp`` prints it, and with an argument sets it. The stack of Docker
Compose asks before it starts Airflow's command line, which takes a minute of a core. The database
itself holds the stamp: one that is new, or restored without it, is initialised again.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

__all__ = ["main"]

_URL = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD"


def main(stamps: list[str]) -> None:
    import psycopg2  # type: ignore[import-untyped,unused-ignore]
    from psycopg2 import sql

    command = shlex.split(os.environ[_URL])
    url = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    connection = psycopg2.connect(url.replace("+psycopg2", "", 1))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        (name,) = cursor.fetchone()
        for stamp in stamps:
            cursor.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(name), sql.Literal(stamp)
                )
            )
        cursor.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            [name],
        )
        print(cursor.fetchone()[0] or "")


if __name__ == "__main__":
    main(sys.argv[1:])
