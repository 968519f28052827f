"""`cxray pacs`: films from the PACS, results back to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cxray.cli import print_json
from cxray.cli.options import PATH, engine_option, json_option, out_option
from cxray.errors import CxrayError, PartialResult, UsageError

if TYPE_CHECKING:
    from cxray.pacs.address import TlsFiles
    from cxray.pacs.node import NodeSettings

_KINDS = ("sr", "sc", "gsps")

_state_option = click.option("--state", type=PATH, required=True, help="Folder for queue, spool and dead letters.")
_aet_option = click.option("--aet", default="CXRAY", show_default=True, help="Our application entity title.")
_codes_option = click.option(
    "--codes", default="", help="Finding codes: `chest`, or a TOML file; a bundle's own come first."
)
_tls_options = (
    click.option("--tls-certificate", type=PATH, help="Our certificate (PEM); switches TLS on, for both sides."),
    click.option("--tls-key", type=PATH, help="Its private key (PEM, not encrypted)."),
    click.option("--tls-ca", type=PATH, help="Certificate of the authority that the other side must be signed by."),
)
_ca_option = click.option("--ca", type=PATH, help="Certificate of a private authority for https addresses.")
_NODE_OPTIONS = (
    _state_option,
    click.option("--send-to", default="", metavar="ADDRESS", help="The PACS that gets the results."),
    click.option("--dry-run", is_flag=True, help="Keep results in STATE/local; nothing reaches the PACS."),
    click.option("--results", default="sr,sc,gsps", show_default=True, help="Which results to write."),
    _codes_option,
    _aet_option,
    engine_option,
    click.option("--accept", default=None, metavar="CODE,…", help="Admission codes to waive, as secondary-capture."),
    *_tls_options,
    _ca_option,
    click.option("--attempts", type=click.IntRange(1), default=5, show_default=True, help="Tries before giving up."),
    click.option(
        "--give-up-hours", type=click.FloatRange(0), default=72.0, show_default=True, help="For a silent PACS."
    ),
    click.option("--film-seconds", type=click.FloatRange(1), default=120.0, show_default=True, help="Limit a film."),
    click.option("--keep-films", is_flag=True, help="Leave films in the spool when they are done."),
    click.option("--log", type=PATH, help="Append events to this file as well."),
    click.option("--quiet", is_flag=True, help="No events on stderr."),
    click.option("--metrics-port", type=click.IntRange(0, 65535), default=0, help="Serve Prometheus on 127.0.0.1."),
    click.option("--once", is_flag=True, help="Deal with what there is, then leave."),
)


def _options(*options: Any) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group("pacs")
def command() -> None:
    """Films from the PACS, results back to it: SR, overlay and outline. Research use only.

    Addresses are AET@host:port, https://host/dicom-web or orthanc+http://host:8042. User and password come from
    CXRAY_PACS_USER and CXRAY_PACS_PASSWORD. Start with `doctor`.

    \b
    Example:
      cxray pacs doctor ORTHANC@127.0.0.1:4242 http://127.0.0.1:8042/dicom-web
      cxray pacs watch runs/first/bundle http://127.0.0.1:8042 --state node --codes chest
    """


@command.command()
@click.argument("bundle", type=PATH)
@_options(*_NODE_OPTIONS)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=11112, show_default=True, help="Port; 0 = any.")
@click.option("--allow", multiple=True, required=True, metavar="AET[@ADDRESS]", help="Who may send; repeatable.")
@click.option("--plain-network", is_flag=True, help="Listen beyond this machine without TLS.")
@json_option
def listen(bundle: Path, as_json: bool, **given: Any) -> None:
    """Listen for films (C-STORE), assess them with BUNDLE and send the results.

    \b
    Example:
      cxray pacs listen runs/first/bundle --state node --allow MODALITY1 --send-to ORTHANC@127.0.0.1:4242
    """
    from cxray.workflow import pacs

    pacs.require_libraries()
    from cxray.pacs.listener import Caller, ListenSettings

    settings = _settings(bundle, given)
    pacs.check_exposure(given["host"], has_tls=settings.tls is not None, allow_plain=given["plain_network"])
    listening = ListenSettings(
        aet=given["aet"],
        host=given["host"],
        port=given["port"],
        callers=tuple(Caller.parse(text) for text in given["allow"]),
        tls=settings.tls,
        accept_secondary_captures=_takes_captures(settings),
    )
    _tell(pacs.listen(settings, listening, _serving(given, 1.0)), as_json)


@command.command()
@click.argument("bundle", type=PATH)
@click.argument("url")
@_options(*_NODE_OPTIONS)
@click.option(
    "--from", "begin", type=click.Choice(["now", "start"]), default="now", show_default=True, help="First run."
)
@click.option("--every", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between questions.")
@json_option
def watch(bundle: Path, url: str, as_json: bool, **given: Any) -> None:
    """Follow the Orthanc at URL, assess each new film with BUNDLE and give the results back to it.

    Without --send-to the results go to the same Orthanc.

    \b
    Example:
      cxray pacs watch runs/first/bundle http://127.0.0.1:8042 --state node
    """
    from cxray.workflow import pacs

    pacs.require_libraries()
    address = _web(url.removeprefix("orthanc+"))
    given["send_to"] = given["send_to"] or f"orthanc+{address}"
    settings = _settings(bundle, given)
    counts = pacs.watch(
        settings,
        address,
        _serving(given, given["every"]),
        from_start=given["begin"] == "start",
        secondary_captures=_takes_captures(settings),
    )
    _tell(counts, as_json)


@command.command()
@click.argument("bundle", type=PATH)
@click.argument("url")
@_options(*_NODE_OPTIONS)
@click.option("--days", type=click.IntRange(1), default=1, show_default=True, help="Ask for studies of the last days.")
@click.option(
    "--every", type=click.FloatRange(0.05), default=15.0, show_default=True, help="Seconds between questions."
)
@json_option
def dicomweb(bundle: Path, url: str, as_json: bool, **given: Any) -> None:
    """Ask the DICOMweb server at URL for new films, assess them with BUNDLE and store the results there.

    \b
    Example:
      cxray pacs dicomweb runs/first/bundle https://pacs.example/dicom-web --state node --days 2
    """
    from cxray.workflow import pacs

    pacs.require_libraries()
    address = _web(url)
    given["send_to"] = given["send_to"] or address
    settings = _settings(bundle, given)
    counts = pacs.poll_dicomweb(
        settings,
        address,
        _serving(given, given["every"]),
        days=given["days"],
        secondary_captures=_takes_captures(settings),
    )
    _tell(counts, as_json)


@command.command()
@click.argument("addresses", nargs=-1, metavar="[ADDRESS]...")
@click.option("--bundle", type=PATH, help="Also check this bundle and its finding codes.")
@click.option("--state", type=PATH, help="Also check this state folder.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Also check that this port is free.")
@_options(_codes_option, _aet_option, *_tls_options, _ca_option)
@json_option
def doctor(addresses: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Try every part of a connection and say in plain words what is wrong. Stores nothing.

    \b
    Example:
      cxray pacs doctor ORTHANC@127.0.0.1:4242 http://127.0.0.1:8042/dicom-web orthanc+http://127.0.0.1:8042
    """
    from cxray.workflow import pacs

    pacs.require_libraries()
    checks = pacs.doctor(
        addresses,
        calling_aet=given["aet"],
        tls=_tls(given),
        authority=given["ca"],
        bundle=given["bundle"],
        codes=given["codes"],
        state=given["state"],
        port=given["port"],
    )
    shown = []
    for check in checks:
        shown.append(check)
        if not as_json:
            click.echo(f"{check.verdict:8} {check.name}: {check.text}")
            if check.next_step:
                click.echo(f"{'':8} -> {check.next_step}")
    if as_json:
        import dataclasses

        print_json([dataclasses.asdict(check) for check in shown])
    failed = sum(check.verdict == "failed" for check in shown)
    if failed:
        raise CxrayError(f"{failed} of {len(shown)} checks failed.", "Follow the arrows above, then ask again.")


@command.command()
@_state_option
@json_option
def status(state: Path, as_json: bool) -> None:
    """What a node has done and what it still has to do; it may be running."""
    from cxray.workflow import pacs

    pacs.require_libraries()
    facts = pacs.node_status(state)
    if as_json:
        print_json(facts)
        return
    for line in pacs.status_lines(facts):
        click.echo(line)


@command.command()
@_state_option
def retry(state: Path) -> None:
    """Put every film of the dead-letter folder back into the queue."""
    from cxray.workflow import pacs

    pacs.require_libraries()
    click.echo(f"{pacs.retry_dead(state)} films are back in the queue.")


@command.command()
@click.argument("bundle", type=PATH)
@click.argument("films", type=PATH, nargs=-1, required=True)
@out_option
@_options(_codes_option, engine_option)
@json_option
def write(bundle: Path, films: tuple[Path, ...], out: Path, codes: str, engine: str, as_json: bool) -> None:
    """Assess DICOM FILMS with BUNDLE and write the results as files, without any PACS.

    \b
    Example:
      cxray pacs write runs/first/bundle film.dcm --out results --codes chest
    """
    from cxray.workflow import pacs

    pacs.require_libraries()
    rows = pacs.write_results(bundle, films, out, codes=codes, engine=engine)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            why = f" ({row['reason']})" if row["reason"] else ""
            click.echo(f"{row['film']}: {row['outcome']}{why}  {' '.join(row['results'])}".rstrip())
    skipped = [row for row in rows if row["outcome"] == "skipped"]
    if skipped:
        raise PartialResult(
            f"{len(skipped)} of {len(rows)} files have no result, the first because: {skipped[0]['reason']}."
        )


def _settings(bundle: Path, given: dict[str, Any]) -> NodeSettings:
    from cxray.pacs.node import NodeSettings
    from cxray.pacs.worker import Retry

    kinds = tuple(kind.strip() for kind in given["results"].split(",") if kind.strip())
    if not kinds or set(kinds) - set(_KINDS):
        raise UsageError(f"--results {given['results']!r} must name some of {', '.join(_KINDS)}.")
    accept = given["accept"]
    return NodeSettings(
        bundle=bundle,
        state=given["state"],
        send_to="" if given["dry_run"] else given["send_to"],
        calling_aet=given["aet"],
        codes=given["codes"],
        engine=given["engine"],
        accept=None if accept is None else tuple(code.strip() for code in accept.split(",") if code.strip()),
        kinds=kinds,
        retry=Retry(attempts=given["attempts"], give_up_hours=given["give_up_hours"]),
        tls=_tls(given),
        authority=given["ca"],
        keep_films=given["keep_films"],
        film_seconds=given["film_seconds"],
        log=given["log"],
        quiet=given["quiet"],
    )


def _tls(given: dict[str, Any]) -> TlsFiles | None:
    from cxray.pacs.address import TlsFiles

    files = [given["tls_certificate"], given["tls_key"], given["tls_ca"]]
    if not any(files):
        return None
    if not all(files):
        raise UsageError("TLS needs all three of --tls-certificate, --tls-key and --tls-ca.")
    return TlsFiles(*files)


def _serving(given: dict[str, Any], every: float) -> Any:
    from cxray.workflow.pacs import Serving

    return Serving(once=given["once"], every_seconds=every, metrics_port=given["metrics_port"])


def _takes_captures(settings: NodeSettings) -> bool:
    from cxray.workflow.pacs import waives_secondary_captures

    return waives_secondary_captures(settings.accept)


def _web(url: str) -> str:
    from cxray.pacs.address import WebAddress, parse_address

    address = parse_address(url)
    if not isinstance(address, WebAddress):
        raise UsageError(f"{url!r} is no web address.", "Write http://host:port or https://host/path.")
    return address.url


def _tell(counts: dict[str, int], as_json: bool) -> None:
    if as_json:
        print_json(counts)
    else:
        click.echo(", ".join(f"{number} {state}" for state, number in counts.items() if number) or "nothing to do")
    if counts["dead"]:
        raise PartialResult(
            f"{counts['dead']} films were given up.", "Their reasons lie in the folder dead of --state."
        )
