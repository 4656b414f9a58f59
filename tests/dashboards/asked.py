"""What the app answers to its own page, without a browser."""

import json


def ask(client, output: str, **values):
    """What a callback of the app answers; values are by ``component.property``."""
    known = {one["output"]: one for one in client.get("/_dash-dependencies").json}
    callback = known[output]

    def filled(one):
        return {"id": one["id"], "property": one["property"], "value": values.get(f"{one['id']}.{one['property']}")}

    outputs = output.strip(".").split("...")
    body = {
        "output": output,
        "outputs": [dict(zip(("id", "property"), one.rsplit(".", 1), strict=True)) for one in outputs],
        "inputs": [filled(one) for one in callback["inputs"]],
        "state": [filled(one) for one in callback["state"]],
        "changedPropIds": ["url.search"],
    }
    return client.post("/_dash-update-component", json=body)


CONTENT = "..content.children...head.children...nav.children...tick.disabled...tick.interval.."


def page_at(client, path: str, search: str = "") -> str:
    """What the app shows under an address, as JSON."""
    answer = ask(client, CONTENT, **{"url.pathname": path, "url.search": search, "theme.data": "light"})
    assert answer.status_code == 200
    return json.dumps(answer.json)
