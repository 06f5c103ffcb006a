from pathlib import Path

import pytest

from cloud_hub.errors import LeftOut
from cloud_hub.factory import tfjs_run


def test_what_runs_the_framework_is_looked_for_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without npm and Node.js a model is left out at once, not after minutes of quantizing."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LeftOut, match="is not installed"):
        tfjs_run.require()
