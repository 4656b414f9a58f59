"""The command that opens the dashboards."""

from pathlib import Path

import click

from asc_study.cli.options import FOLDER


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
