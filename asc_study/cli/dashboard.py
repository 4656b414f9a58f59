"""The commands that open the dashboards and write their pages to a file."""

import logging
import threading
from pathlib import Path

import click

from asc_study.base.errors import InputError
from asc_study.base.files import require_writable, write_file
from asc_study.cli.options import FILE, FOLDER


@click.command()
@click.argument("studies", nargs=-1, metavar="[STUDY]...")
@click.option("--tracking-uri", metavar="URI", help="The MLflow store; default: the store in use.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where it listens.")
@click.option("--port", default=8050, show_default=True, type=click.IntRange(0, 65535), metavar="PORT", help="0: any.")
@click.option("--data", "data_dir", type=FOLDER, metavar="DIR", help="The recordings, for pages that play them.")
def dashboard(studies: tuple[str, ...], tracking_uri: str | None, host: str, port: int, data_dir: Path | None) -> None:
    """Open the dashboards of the STUDIES (default: the newest) in a browser's reach, until Ctrl-C.

    They read the store and change nothing. --data lets them play and draw the recordings of a data set.

    \b
    Example:
      asc-study dashboard demo --data demo-data
    """
    from dashboards.app import create_app, is_local, open_server, source_of

    source = source_of(tracking_uri, studies, data_dir)
    threading.Thread(target=source.begin, daemon=True).start()
    local = is_local(host)
    server = open_server(create_app(source, ("127.0.0.1", "localhost", "::1", host) if local else ()), host, port)
    if not local:
        click.echo(f"note: {host} is open to the network: whoever reaches it can read this store", err=True)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"dashboards: http://{shown}:{server.server_port}/  (Ctrl-C ends them)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("dashboards closed")
    finally:
        server.server_close()


@click.command()
@click.argument("study", metavar="STUDY")
@click.option("--out", required=True, type=FILE, metavar="FILE", help="The page to write, .html.")
@click.option("--reference", default="", metavar="ROW", help="Compare with this row; default: the study's own.")
@click.option("--tracking-uri", metavar="URI", help="The MLflow store; default: the store in use.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--no-log", is_flag=True, help="Do not keep the page with the study in the store.")
def report(study: str, out: Path, reference: str, tracking_uri: str | None, force: bool, no_log: bool) -> int:
    """Write the dashboards of a STUDY as one page that opens without a network and prints.

    It holds figures, tables and texts of all pages that need no server, and is an artifact of the study's own run.
    Exit code 1 if something that runs logged cannot be read: one line says what the page lacks.

    \b
    Example:
      asc-study report demo --out report.html
    """
    from asc_study.store.tracking import Tracker
    from asc_study.study.summary import log_report
    from dashboards.app import source_of
    from dashboards.report import report as written

    if out.exists() and not force:
        raise InputError(f"{out} exists: name another file or overwrite it with --force")
    require_writable(out)
    logging.getLogger("dashboards").setLevel(logging.CRITICAL)  # what fails is one line
    source = source_of(tracking_uri, (study,), None, patience=threading.TIMEOUT_MAX)  # a file is not drawn again
    made = written(source, study, reference)
    write_file(out, made.page)
    click.echo(f"written: {out} ({len(made.page.encode()) / 1e6:.1f} MB)")
    if not no_log and (note := log_report(Tracker(source.reader.uri), study, made.page)):
        click.echo(note, err=True)
    if made.missing:
        click.echo(f"missing in {out}: {'; '.join(made.missing)}", err=True)
    return int(bool(made.missing))
