import keras
import pytest

from asc_study.base.errors import InputError
from asc_study.models import build_model
from asc_study.models.backend import require_backend
from asc_study.study.preflight import check_fit


def test_what_a_users_keras_json_says_does_not_reach_a_model():
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.1)
    model = build_model("small_fcnn", input_shape=(32, 32, 3), num_classes=10)
    assert model.output_shape == (None, 10)
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.image_data_format() == "channels_last"
    assert keras.config.epsilon() == 1e-7


@pytest.mark.parametrize("name", ["nosuchbackend", "torch; rm", ""])
def test_a_back_end_that_is_not_installed_is_one_line_before_anything_runs(monkeypatch, simulated, name):
    from asc_study.data.layout import read_dataset
    from asc_study.settings.study_file import Study

    monkeypatch.setattr("asc_study.models.backend.backend_name", lambda: name)
    line = "the back end of Keras must be installed, got .*: set KERAS_BACKEND or the `backend` of keras.json to"
    with pytest.raises(InputError, match=line):
        require_backend()
    with pytest.raises(InputError, match=line):
        check_fit(Study("s", "", (), (0,), "inline", ""), read_dataset(simulated))
