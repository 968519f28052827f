"""`cxray demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, json_option, overwrite_option, seed_option

if TYPE_CHECKING:
    from cxray.workflow.demo import Demo


@click.command("demo")
@click.option("--out", type=PATH, default="demo-run", show_default=True, help="Folder for everything the demo makes.")
@click.option("--patients", type=click.IntRange(min=40), default=320, show_default=True, help="Synthetic patients.")
@click.option("--serve", "is_served", is_flag=True, help="End in the page, with the demo's model and films.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port of the page.")
@seed_option
@overwrite_option
@json_option
def command(out: Path, patients: int, is_served: bool, port: int, seed: int, overwrite: bool, as_json: bool) -> None:
    """Walk the whole road with synthetic radiographs: audit, train, predict, evaluate, report. Offline, a few minutes.

    With --serve a demo that already lies in --out is not made again.

    \b
    Example:
      cxray demo
      cxray demo --out /tmp/demo --seed 7
      cxray demo --serve
    """
    if is_served:
        from cxray.serve.run import require_serving_libraries

        require_serving_libraries()
    from cxray.workflow.demo import demo, is_finished

    if is_served and not overwrite and is_finished(out, seed=seed, patients=patients):
        click.echo(f"{out} holds this demo already, so it is served as it is.")
        _serve(out, port)
        return
    result = demo(out, seed=seed, patients=patients, overwrite=overwrite)
    auroc = result.judgement.record("auroc")
    if as_json:
        print_json({"report": str(result.report), "auroc": auroc.value, "seconds": result.seconds})
    else:
        _tell(out, result, auroc.value)
    if is_served:
        _serve(out, port)


def _tell(out: Path, result: Demo, auroc: float | None) -> None:
    click.echo(f"Done in {result.seconds:.0f} s. AUROC on the sealed test patients: {auroc:.3f}")
    click.echo(f"Report: {result.report}")
    click.echo(f"How the model was made: {out / 'run' / 'report.html'}")


def _serve(out: Path, port: int) -> None:
    from cxray.serve.run import serve
    from cxray.serve.settings import Settings

    settings = Settings(bundles={"demo": out / "run" / "bundle"}, port=port, samples=out / "films" / "test")
    serve(settings, on_ready=lambda address: click.echo(f"The page: {address}  (Ctrl-C ends it)"))
