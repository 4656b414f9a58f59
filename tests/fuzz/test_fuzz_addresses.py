from urllib.parse import quote, quote_plus

from fuzzing import examples
from hypothesis import given
from hypothesis import strategies as st

from asc_study.store.addresses import address_line, cannot_open, masked, scrubbed

#: What nobody may read, inside of a secret that may hold whatever an address is made of.
CORE = st.text("ABCDEFGHJKMNPQRTUVWXY2346789", min_size=8, max_size=12)
EDGE = st.text("@/?#&=:%+ .;[]\\'\"a1", max_size=4)
SECRETS = st.tuples(EDGE, CORE, EDGE)

#: Every place of a secret ``{}`` in an address, with and without typing errors.
PLACES = [
    *(
        "http://u:{}@host:1/x",
        "https://{}@host/",
        "http://{}:x@host",
        "postgresql+psycopg://u:{}@host:1/x",
        "mysql+pymysql://u:{}@h/x",
    ),
    *(
        "http:/u:{}@host",
        "http//u:{}@host",
        "htp://u:{}@host",
        "u:{}@host/x",
        "http://u:{}@host:port/x",
        "bogus://u:{}@h",
    ),
]
#: In these the secret stands where an address is taken apart before, so that it is percent-encoded.
ENCODED = [
    *(
        "http://host/?token={}",
        "postgresql://host/x?user=u&password={}",
        "sqlite:////a/x.db?password={}",
        "http://host/#{}",
        "http://host/?{}",
    ),
]


@examples(200)
@given(SECRETS, st.sampled_from([*PLACES, *ENCODED]), st.booleans())
def test_no_line_about_an_address_holds_its_secret(secret, place, encoded):
    text = "".join(secret)
    uri = place.format(quote(text, safe="") if encoded or place in ENCODED else text)
    spelled = [text, quote(text), quote(text, safe=""), quote_plus(text), text.lower(), repr(text)[1:-1]]
    told = " | ".join([uri, *spelled])
    for line in (
        masked(uri),
        scrubbed(told, uri),
        address_line(uri, "{address}: {reason}", told),
        str(cannot_open(uri, OSError(told))),
    ):
        assert secret[1].lower() not in line.lower(), line
        assert "\n" not in line


@examples(100)
@given(st.text(max_size=60))
def test_any_text_can_be_taken_for_an_address(text):
    assert isinstance(masked(text), str)
    assert isinstance(scrubbed(text, text), str)
    assert len(address_line("http://host", "{address}: {reason}", text).splitlines()) <= 1
