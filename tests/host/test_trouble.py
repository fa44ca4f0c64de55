"""Spark's own words, as it said them, in ours; and whether it may pass.

The texts are what Spark 4.3 and Java 17 wrote on standard error, cut.
"""

from __future__ import annotations

import pytest

from nocturne.errors import MachineError, RetryableError
from nocturne.host.trouble import cause_of, explain
from nocturne.spark.work import spark_errors

GATEWAY = """
Traceback (most recent call last):
  File "pyspark/java_gateway.py", line 111, in launch_gateway
    raise PySparkRuntimeError(
pyspark.errors.exceptions.base.PySparkRuntimeError: [JAVA_GATEWAY_EXITED] Java gateway process \
exited before sending its port number.
"""
SAID = {
    "host": (
        """Exception in thread "main" java.lang.ExceptionInInitializerError
\tat org.apache.spark.deploy.SparkSubmitArguments.loadEnvironmentArguments(SparkSubmitArgum:197)
Caused by: java.net.UnknownHostException: nowhere-x: nowhere-x: Name or service not known
\tat org.apache.spark.util.Utils$.findLocalInetAddress(Utils.scala:893)
\t... 10 more
Caused by: java.net.UnknownHostException: nowhere-x: Name or service not known
\t... 17 more""",
        "java.net.UnknownHostException: nowhere-x: Name or service not known",
        "the host name nowhere-x of this machine does not resolve to an address",
        True,
    ),
    "user": (
        """26/11/28 10:12:25 WARN Utils: Set SPARK_LOCAL_IP if you need to bind to another address
Exception in thread "main" java.lang.IllegalArgumentException: basedir must be absolute: \
?/.ivy2.5.2/local
\tat org.apache.ivy.util.Checks.checkAbsolute(Checks.java:48)""",
        "java.lang.IllegalArgumentException: basedir must be absolute: ?/.ivy2.5.2/local",
        "the user that runs this has no entry in /etc/passwd",
        True,
    ),
    "no Java": (
        """pyspark/bin/spark-class: line 71: /nowhere/bin/java: No such file or directory
pyspark/bin/spark-class: line 97: CMD: bad array subscript""",
        "pyspark/bin/spark-class: line 71: /nowhere/bin/java: No such file or directory",
        "there is no Java that Spark can run on",
        True,
    ),
    "another Spark": (
        """Error: Could not find or load main class org.apache.spark.launcher.Main
Caused by: java.lang.ClassNotFoundException: org.apache.spark.launcher.Main
/opt/spark/bin/spark-class: line 97: CMD: bad array subscript""",
        "java.lang.ClassNotFoundException: org.apache.spark.launcher.Main",
        "the Spark that is started does not belong to this pyspark, or is incomplete",
        True,
    ),
    "address": (
        """py4j.protocol.Py4JJavaError: An error occurred while calling None.org.apache.spark.api.
: java.net.BindException: bind(..) failed with error(-99): Cannot assign requested address: Service
\tat io.netty.channel.unix.Errors.newBindException(Errors.java:0)""",
        "java.net.BindException: bind(..) failed with error(-99): Cannot assign requested address: "
        "Service",
        "the address that Spark should listen on does not belong to this machine",
        True,
    ),
    "heap": (
        """: org.apache.spark.SparkIllegalArgumentException: [INVALID_DRIVER_MEMORY.SYSTEM_MEMORY] \
Insufficient driver memory: System memory 209715200 must be at least 471859200.
Please increase heap size using the --driver-memory option""",
        "org.apache.spark.SparkIllegalArgumentException: [INVALID_DRIVER_MEMORY.SYSTEM_MEMORY] "
        "Insufficient driver memory: System memory 209715200 must be at least 471859200.",
        "Spark is given too little memory",
        True,
    ),
    "collectors": (
        "Error occurred during initialization of VM\nMultiple garbage collectors selected\n",
        "Multiple garbage collectors selected",
        "Java does not take its options",
        True,
    ),
    "locale": (
        """: java.nio.file.InvalidPathException: Malformed input or input contains unmappable \
characters: /srv/Größe/blockmgr-f1624db8
\tat java.base/sun.nio.fs.UnixPath.encode(UnixPath.java:145)""",
        "java.nio.file.InvalidPathException: Malformed input or input contains unmappable "
        "characters: /srv/Größe/blockmgr-f1624db8",
        "Java's locale can't represent the name of a folder or file",
        True,
    ),
    "no folder": (
        """26/11/28 10:19:15 ERROR JavaUtils: Failed to create directory /proc/x/blockmgr-8c2b687e
java.nio.file.NoSuchFileException: /proc/x
\tat org.apache.spark.network.util.JavaUtils.createDirectory(JavaUtils.java:600)
26/11/28 10:19:16 ERROR DiskBlockManager: Failed to create any local dir.""",
        "java.nio.file.NoSuchFileException: /proc/x",
        "a folder that Spark needs can't be written or read",
        True,
    ),
    "worker without Nocturne": (
        """: org.apache.spark.api.python.PythonException: [PYTHON_EXCEPTION] An exception was \
thrown from the Python worker: Traceback (most recent call last):
  File "/srv/job.py", line 7, in <lambda>
ModuleNotFoundError: No module named 'nocturne'
 SQLSTATE: 38000
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException""",
        "ModuleNotFoundError: No module named 'nocturne'",
        "the workers' Python does not have nocturne",
        True,
    ),
    "no worker": (
        """Caused by: java.io.IOException: Cannot run program "/nowhere/python": error=2, No such \
file or directory
\t... 1 more
Caused by: java.io.IOException: error=2, No such file or directory
\t... 20 more""",
        "java.io.IOException: error=2, No such file or directory",
        "the workers' Python /nowhere/python can't be run",
        True,
    ),
    "memory": (
        """OpenJDK 64-Bit Server VM warning: INFO: os::commit_memory(0x00000000c0000000) failed
# There is insufficient memory for the Java Runtime Environment to continue.
# An error report file with more information is saved as:""",
        "# There is insufficient memory for the Java Runtime Environment to continue.",
        "there is not enough memory, or too many processes run",
        False,
    ),
    "something new": (
        """Exception in thread "main" java.lang.IllegalStateException: nobody has seen this
\tat org.apache.spark.Nobody.knows(Nobody.scala:1)""",
        "java.lang.IllegalStateException: nobody has seen this",
        "",
        False,
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_what_stands_in_sparks_way_is_said(name: str) -> None:
    text, said, why, terminal = SAID[name]
    found = explain(text + GATEWAY)
    assert (found.message, found.why, found.terminal) == (said, why, terminal)
    error = found.error("Spark can't start")
    assert type(error) is (MachineError if terminal else RetryableError)
    assert error.exit_code == (1 if terminal else 75)
    assert said in str(error)
    assert str(error).startswith("Spark can't start: ")


def test_of_a_spark_that_is_up_only_the_workers_are_judged() -> None:
    assert explain(SAID["no folder"][0], started=True).terminal is False
    assert explain(SAID["no worker"][0], started=True).terminal is True
    assert explain(SAID["worker without Nocturne"][0], started=True).terminal is True


def test_without_an_exception_the_last_line_says_it() -> None:
    assert cause_of("one\ncommand not found: x\nthe end\n") == "command not found: x"
    assert cause_of("one\nthe end\n\n") == "the end"
    assert cause_of("") == "there is no message"


CRASHED = """An error occurred while calling z:org.apache.spark.api.python.PythonRDD.collect.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 1.0 failed 1 \
times, most recent failure: Lost task 0.0 in stage 1.0 (TID 1) (here executor driver): \
org.apache.spark.SparkException: Python worker exited unexpectedly (crashed). Consider setting \
'spark.python.worker.faulthandler.enabled' configuration to 'true' for the better Python traceback.
\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.apply(PythonRunner.scala:900)
Caused by: java.io.EOFException
\tat java.base/java.io.DataInputStream.readInt(DataInputStream.java:386)
\t... 22 more
"""


def test_a_worker_that_crashed_is_said_without_a_stack() -> None:
    with (
        pytest.raises(RetryableError, match=r"ended: a crash in native code .* memory") as caught,
        spark_errors("score the splits", "Run it again"),
    ):
        raise RuntimeError(CRASHED)
    said = str(caught.value)
    assert "(Python worker exited unexpectedly (crashed)). The kernel's log says which" in said
    assert "EOFException" not in said
    assert "\n" not in said


def test_doctor_does_not_send_to_itself() -> None:
    unknown = explain("java.lang.Whatever: nobody knows")
    assert unknown.advice.endswith("`nocturne doctor` reports more")
    assert unknown.for_doctor == "It may pass: run the same command again"
