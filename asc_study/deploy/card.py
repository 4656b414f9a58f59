"""The model card of a bundle: what it is, what it hears, how well, and under what terms."""

from collections.abc import Mapping, Sequence
from typing import Any

from asc_study.base.metric_table import ALL_CLIPS, BY_NAME, subsets_among
from asc_study.base.taxonomy import known_devices
from asc_study.data.formats import DATA_FORMATS


def model_card(manifest: Mapping[str, Any], requirements: Sequence[str]) -> str:
    """The card in Markdown, of the content of ``manifest.json``."""
    members = manifest["members"]
    lines = [
        f"# {manifest['name']}",
        "",
        f"Names the acoustic scene of a recording: {manifest['system']}. Classes: {', '.join(manifest['classes'])}.",
        "",
        "## Use",
        "",
        "```sh",
        f"pip install {' '.join(requirement.split('>=')[0] for requirement in requirements)}",
        "python classify.py recording.wav",
        "arecord -t raw -f S16_LE -r 44100 -c 1 | python classify.py --raw 44100 --hop 1 -",
        "```",
        "",
        f"It hears windows of {manifest['seconds']:g} s. Another sample rate is resampled, other channels are mixed "
        "down or duplicated, a longer recording is cut into windows whose probabilities are averaged, a shorter one is "
        "repeated; each is said once.",
        "",
        "## Networks",
        "",
        "| file | task | source | scheme | bytes |",
        "|---|---|---|---|---|",
        *(f"| {m['file']} | {m['task']} | {m['source']} | {m['scheme']} | {m['bytes']:,} |" for m in members),
        "",
        *_by_device(manifest.get("devices", [])),
        f"Together {manifest['sizes']['file_bytes']:,} bytes of files, {manifest['sizes']['nonzero_bytes']:,} of "
        f"non-zero weights (DCASE 2020), {manifest['sizes']['stored_bytes']:,} of all weights (DCASE 2022).",
        "",
        "## Factors: the recording device",
        "",
        *_device_table(manifest),
        "",
        "## Limits",
        "",
        "It knows only its classes and gives one for any sound. Recordings of other cities, devices and languages than "
        "those of its training may be told apart worse; the unseen devices above are the best guess at how much.",
        "",
        "## Licence",
        "",
        "The program in `runtime/` is under the MIT licence (`runtime/LICENSE`). The networks come from the data set "
        f"`{manifest['dataset']}`; whoever passes them on keeps to its terms. Those of the public data sets:",
        "",
        *(f"- {known.title}: {known.licence}." for known in DATA_FORMATS.values()),
    ]
    return "\n".join(lines) + "\n"


def _by_device(devices: Sequence[str]) -> list[str]:
    """Who is heard by which networks, of a system by device."""
    if not devices:
        return []
    return [
        f"A clip of {', '.join(devices)} is heard by the networks of its device (`--device {devices[0]}`), one of any "
        "other or of no known device by the general ones. The sizes below are those of the largest of these.",
        "",
    ]


def _device_table(manifest: Mapping[str, Any]) -> list[str]:
    metrics = manifest["metrics"]
    if not metrics:
        return ["It was not tested: its networks have no predictions of the same test clips."]
    rows = [
        (subset.title, *(metrics.get(BY_NAME[subset.metric].test_name + end) for end in ("", "_lo", "_hi")))
        for subset in (ALL_CLIPS, *subsets_among(metrics))
    ]
    rows += [
        (f"device {device}", metrics.get(BY_NAME[f"device_acc_{device}"].test_name), None, None)
        for device in known_devices()
    ]
    shown = [
        f"| {heading} | {100 * value:.1f} | {f'{100 * low:.1f} to {100 * high:.1f}' if low is not None else ''} |"
        for heading, value, low, high in rows
        if value is not None
    ]
    return [
        f"Accuracy on the test clips, measured on {manifest['measured_on']}; bootstrap over locations.",
        "",
        "| clips | accuracy, % | 95 % interval |",
        "|---|---|---|",
        *shown,
    ]
