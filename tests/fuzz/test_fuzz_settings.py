from pathlib import Path

import yaml
from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from asc_study.base.yaml_file import LARGEST_CONTENT, parse_override, parse_yaml
from asc_study.settings.migrations import read_config
from asc_study.settings.run_config import RunConfig, resolve
from asc_study.settings.study_file import Study, load_study

PIECES = [
    *(
        "study: x\n",
        "rows:\n",
        "- ",
        "  ",
        "&a ",
        "*a",
        "<<: ",
        "!!bool ",
        "!!int ",
        "!!map ",
        "!!set ",
        "!!python/object:os.system ",
        "!!binary ",
    ),
    *(
        "[",
        "]",
        "{",
        "}",
        ", ",
        ": ",
        "\n",
        "'",
        '"',
        "|\n ",
        "? ",
        "---\n",
        "...",
        "%YAML 1.1\n",
        "#",
        "~",
        "1e999",
        ".nan",
        "1:30:00",
    ),
    *(
        "base",
        "training",
        "epochs",
        "seeds",
        "grid",
        "profiles",
        "name",
        "0x10",
        "2020-13-45",
        "ü",
        "\t",
        "\0",
        "\ud800",
    ),
]
TEXTS = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["x:y", "os:system", "best", "mixup", "a.b"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
KNOWN = sorted(resolve({}).model_dump())
INNER = sorted({key for value in resolve({}).model_dump().values() if isinstance(value, dict) for key in value})
SETTINGS = st.dictionaries(
    st.one_of(st.sampled_from(["schema", *KNOWN]), st.text(max_size=5)),
    st.one_of(VALUES, st.dictionaries(st.sampled_from([*INNER, "mixup", "noise"]), VALUES, max_size=3)),
    max_size=4,
)


def dumped(value: object) -> str:
    return str(yaml.safe_dump(value))


@examples(400)
@given(TEXTS)
def test_any_text_is_a_bounded_value_or_one_line(value_or_line, text):
    value = value_or_line(parse_yaml, text, "it")
    assert len(repr(value)) < 100 * LARGEST_CONTENT
    value_or_line(parse_override, text)
    value_or_line(parse_override, f"training={text}")


@examples(150)
@given(st.one_of(TEXTS, SETTINGS.map(dumped)))
def test_any_stored_configuration_is_one_or_one_line(value_or_line, text):
    assert isinstance(value_or_line(read_config, text, where="run"), RunConfig | None)


@examples(150)
@given(
    st.one_of(
        TEXTS.map(lambda text: f"study: x\n{text}"),
        st.fixed_dictionaries(
            {"study": st.just("x")},
            optional={
                "base": SETTINGS,
                "rows": st.lists(SETTINGS.map(lambda row: {"name": "a", **row}), max_size=2),
                "seeds": VALUES,
                "grid": VALUES,
                "profiles": VALUES,
                "ensembles": VALUES,
                "systems": VALUES,
                "published": VALUES,
                "baseline": VALUES,
            },
        ).map(dumped),
    )
)
def test_any_study_file_is_a_study_or_one_line(value_or_line, text):
    Path("x.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    assert isinstance(value_or_line(load_study, Path("x.yaml")), Study | None)
