"""What spark-submit runs: scores the splits of the run directories given as arguments."""

import sys

from nocturne.host.garbage import collect_rarely
from nocturne.logs import to_stderr
from nocturne.pipeline.scoring import submitted

if __name__ == "__main__":
    collect_rarely()
    with to_stderr():
        sys.exit(submitted(sys.argv[1:]))
