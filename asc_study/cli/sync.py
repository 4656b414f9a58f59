"""The command that delivers what waits for the store."""

import json

import click

from asc_study.cli.options import existing_store, json_option


@click.command()
@json_option
def sync(as_json: bool) -> int:
    """Deliver what runs could not, because their store did not answer until they ended; trains nothing.

    The next launch of a study does it too. Exit code 1 if something waits on for this store.

    \b
    Example:
      asc-study sync
    """
    from asc_study.base.paths import spool_dir
    from asc_study.store.spool import spools
    from asc_study.study.sync import sync as deliver

    outcomes = []
    for outcome in deliver(existing_store()):
        outcomes.append(outcome)
        if not as_json:
            click.echo(outcome.line())
    known = {outcome.run_id for outcome in outcomes}
    others = sum(spool.run_id not in known for spool in spools())
    if as_json:
        shown = {"runs": [outcome.to_dict() for outcome in outcomes], "waiting_for_other_stores": others}
        click.echo(json.dumps(shown, indent=2))
    else:
        if not outcomes:
            click.echo("nothing waits for this store")
        if others:
            said = "waits for another store, or cannot be read: call this again with MLFLOW_TRACKING_URI set to it"
            click.echo(f"{others} {said}, or see {spool_dir()}")
    return 1 if any(outcome.status == "waiting" for outcome in outcomes) else 0
