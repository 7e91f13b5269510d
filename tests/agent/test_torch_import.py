"""Importing torch."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from hwdiag.agent.torch_import import import_torch


class Channel:
    """Listens."""

    def tell(self, name: str, **values: Any) -> None:
        """Hear one event."""


@pytest.mark.parametrize("fails", [False, True])
def test_no_garbage_is_looked_for_while_torch_is_imported(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That took a tenth of the import, which is most of a verification."""
    end = "raise ImportError('no')" if fails else ""
    (tmp_path / "torch.py").write_text(f"import gc, sys\nsys.was_on = gc.isenabled()\n{end}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "was_on", None, raising=False)
    assert gc.isenabled()
    assert (import_torch(Channel()) is None) == fails
    assert (sys.was_on, gc.isenabled()) == (False, True)  # type: ignore[attr-defined]
    sys.modules.pop("torch", None)
