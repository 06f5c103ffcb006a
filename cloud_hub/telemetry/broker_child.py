"""The process beside the hub that is, or watches, the broker. It ends when the hub ends, however that happens.

The hub holds the other end of this process's standard input; when that closes, whoever closed it, the broker goes too.
"""

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """`iotcore CONFIG` or `mosquitto CONFIG BINARY`."""
    engine, config, *rest = sys.argv[1:]
    if engine == "iotcore":
        _serve(config)
    else:
        sys.exit(_watch([*rest, "-c", config]))


def _serve(config: str) -> None:
    from iotcore import IotCoreBroker

    # rumqttd reports every packet as an error record; what matters to the hub is whether the port answers.
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    _at_end_of_input(lambda: os._exit(0))
    IotCoreBroker(config_path=config).run_forever()


def _watch(command: list[str]) -> int:
    # No thread has started yet, so what runs between fork and exec cannot wait for a lock that nobody will give.
    with subprocess.Popen(command, preexec_fn=_die_with_parent) as broker:  # noqa: PLW1509, S603
        signal.signal(signal.SIGHUP, lambda *_: broker.send_signal(signal.SIGHUP))
        signal.signal(signal.SIGTERM, lambda *_: broker.terminate())
        _at_end_of_input(broker.terminate)
        return broker.wait()


def _at_end_of_input(act: Callable[[], None]) -> None:
    def wait() -> None:
        sys.stdin.buffer.read()
        act()

    threading.Thread(target=wait, daemon=True).start()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
