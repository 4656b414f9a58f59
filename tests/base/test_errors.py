from asc_study.base.errors import InputError


def test_a_message_is_one_line_that_no_terminal_obeys():
    assert str(InputError("a\r\nb\x1b[2Jc\u2028d\ud800 ü")) == r"a\r\nb\x1b[2Jc\u2028d\ud800 ü"


def test_a_message_is_not_too_long_and_keeps_its_remedy():
    assert len(str(InputError("x" * 5000 + "\0" * 100 + ": mend it"))) < 1600
    assert str(InputError("x" * 5000 + ": mend it")).endswith(": mend it")
