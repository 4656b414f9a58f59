"""What C++ libraries write past Python."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what the block writes to file descriptor 2 (start-up notices of C++ libraries), and show it on an error."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        except Exception:  # of the import or the drivers, raised again: what the block wrote says why
            caught.seek(0)
            os.write(original, caught.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
