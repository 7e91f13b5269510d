"""Run the workbook with papermill and say where its results are."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hwdiag.core.errors import HwdiagError
from hwdiag.core.home import home, notebook
from hwdiag.diagnose.summary import MIME
from hwdiag.report.progress import Progress, Relayed


def run_notebook(parameters: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Execute notebooks/diagnose.ipynb; gives its summary, with the path of the executed notebook.

    Raises:
        HwdiagError: the notebook failed; the error's text is the notebook's own.
    """
    import papermill

    outputs = home() / "outputs"
    try:
        outputs.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=outputs, prefix=".running-", suffix=".ipynb")
        os.close(handle)
    except OSError as error:
        raise HwdiagError(f"cannot write to {outputs}: {error.strerror}") from None
    running = Path(name)
    progress("starting the notebook", 0)
    try:
        done = papermill.execute_notebook(
            notebook("diagnose"),
            running,
            parameters=parameters,
            kernel_name="python3",
            stdout_file=Relayed(progress, sys.stderr),
            progress_bar=False,
            extra_arguments=["--log-level=ERROR"],  # or ipykernel warns of its loopback connection
        )
        summary = summary_of(done)
        executed = Path(summary["record"]).with_name("diagnose.ipynb")
        running.replace(home() / executed).chmod(0o644)
    except papermill.PapermillExecutionError as error:
        failure = HwdiagError(f"{error.evalue}")
        failure.exit_status = 2 if error.ename == "UsageError" else 1
        raise failure from None
    except OSError as error:
        raise HwdiagError(f"the notebook could not be run: {error}") from None
    except KeyboardInterrupt:
        # Tasks that wait for the dead kernel would each print a traceback while Python shuts down.
        logging.getLogger("asyncio").disabled = True
        raise
    finally:
        running.unlink(missing_ok=True)
    return {**summary, "notebook": str(executed)}


def summary_of(notebook: Any) -> dict[str, Any]:
    """Return the machine-readable summary that the last cell left. Raises ``HwdiagError`` if it never came."""
    for cell in reversed(notebook.cells):
        for output in cell.get("outputs", ()):
            if MIME in output.get("data", {}):
                return dict(output["data"][MIME])
    raise HwdiagError("the notebook ended without a summary: its kernel was stopped")
