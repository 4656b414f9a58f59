"""A data set of your own: copy this file, fill in what is true of your recordings, and check it.

    python own_data_format.py                                                    # checks the format itself
    asc-study data check DIR --format own_data_format:OWN_DATA_FORMAT            # checks your data with it

Announced by an installed package, the format is recognised by every command. In its pyproject.toml:

    [project.entry-points."asc_study.data_formats"]
    my-recordings = "own_data_format:OWN_DATA_FORMAT"
"""

from asc_study.base.taxonomy import GROUP_OF_SCENE, SCENES
from asc_study.data.formats.data_format import DataFormat, Lists

OWN_DATA_FORMAT = DataFormat(
    name="my-recordings",
    title="Recordings with two telephones in one city",
    tasks=("ten_class", "three_class"),  # the first: whose classes the lists hold; scenes serve their groups too
    label="scene",  # or "scene_group"
    scenes=SCENES,  # some of the ten are enough
    group_of_scene=GROUP_OF_SCENE,
    devices=("phone1", "phone2"),  # as file names call them
    reference_device="phone1",  # the one that training always hears
    device_subsets={"phone1": ("phone1",), "phone2": ("phone2",)},
    sample_rate=32_000,
    channels=1,
    clip_seconds=5.0,
    file_name="sound/<scene>-<city>-<location>-<day>-<take>-<device>.wav",  # further parts, such as day: as you like
    lists=Lists(
        meta="all.csv",
        train="train.csv",
        test="test.csv",
        names=None,  # or the list of test names without labels
        file_column="file",
        label_column="scene",
        repeated={"place": "<city>-<location>"},  # columns that must agree with the file name
        separator=",",
    ),
    licence="private",
    citation="none: recorded by ourselves in 2026",
    archives=None,  # or Archives(url, zips, unpacked_size), for `asc-study data download`
)

if __name__ == "__main__":
    from asc_study.testing import check_data_format

    check_data_format(OWN_DATA_FORMAT)
    print(f"{OWN_DATA_FORMAT.name} keeps the contract of a data format")
