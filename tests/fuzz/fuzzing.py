"""What the fuzzers share: how much they try, and how bytes are damaged."""

import os
from collections.abc import Sequence

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("ASC_STUDY_FUZZ", "1"))


def examples(count: int) -> settings:
    """Settings of a fuzzer that tries ``count`` inputs in a short run."""
    return settings(
        max_examples=count * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


#: Damage: bytes overwritten at places, and a share of the file that is kept.
CHANGES = st.tuples(
    st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=4),
    st.one_of(st.just(1.0), st.floats(0, 1)),
)


def changed(content: bytes, changes: tuple[Sequence[tuple[float, bytes]], float]) -> bytes:
    """The content with damage."""
    result = bytearray(content)
    for place, piece in changes[0]:
        start = round(place * (len(result) - 1))
        result[start : start + len(piece)] = piece
    return bytes(result[: round(changes[1] * len(result))])
