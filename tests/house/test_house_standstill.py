"""A measurement that is stopped on its way is not taken for one that stands still."""

import signal
import subprocess
import sys
import time

STOPPED = """
import time
from benchmark.standstill import RunClock, Standstill
with RunClock() as clock:
    standstill = Standstill(clock, 2.0)
    standstill.lasts("5/9")
    print("begun", flush=True)
    while clock.stopped_s == 0:
        time.sleep(0.05)
    print(standstill.lasts("5/9"), clock.stopped_s, flush=True)
    while not standstill.lasts("5/9"):
        time.sleep(0.05)
    print("stands still", flush=True)
"""


def test_a_run_that_was_stopped_does_not_stand_still() -> None:
    with subprocess.Popen([sys.executable, "-c", STOPPED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(3.0)
        process.send_signal(signal.SIGCONT)
        lasts, stopped = process.stdout.readline().split()
        assert lasts == "False"
        assert float(stopped) >= 2.9
        assert process.stdout.readline() == "stands still\n", "one that runs and does nothing is told"
