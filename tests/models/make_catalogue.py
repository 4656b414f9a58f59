"""Write the figures that `asc-study models list` prints anew, after a change of an architecture of the paper."""

from asc_study.base.files import write_file
from asc_study.models.catalogue import STORED, catalogue, to_json
from asc_study.training.runtime import start_keras

if __name__ == "__main__":
    start_keras(2)
    write_file(STORED, to_json(catalogue()) + "\n")
