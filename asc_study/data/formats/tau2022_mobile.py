"""TAU Urban Acoustic Scenes 2022 Mobile, development data set (DCASE 2022 to 2025 Task 1).

The recordings of TAU Urban Acoustic Scenes 2020 Mobile, cut into ten clips of a second each; the name of a clip has its
second. Since 2024 systems are trained on a part of the train list: ``training.subset`` names one.

Source: Zenodo record 6337421. Names, sizes and MD5 sums of the zips are those of the record, as given in dcase_util
0.2.20 and, without sizes, in soundata 1.0.1 (the sums are the same). The lists of 2024 and 2025 are not in the record
and have no published sums: they come with the baselines of these tasks and belong in ``evaluation_setup``.
"""

from typing import Final

from asc_study.base.taxonomy import DEVICE_SUBSETS, DEVICES, GROUP_OF_SCENE, SCENES, SEEN_DEVICES
from asc_study.data.formats.data_format import Archive, Archives, DataFormat, Lists

_ZIP: Final = "TAU-urban-acoustic-scenes-2022-mobile-development"

#: Parts of the train list, in per cent of its clips (DCASE 2024 Task 1; that of 2025 has ``split25``).
SUBSETS_OF_TRAIN: Final = (5, 10, 25, 50, 100)

TAU2022_MOBILE: Final = DataFormat(
    name="tau2022-mobile",
    title="TAU Urban Acoustic Scenes 2022 Mobile",
    tasks=("ten_class", "three_class"),
    label="scene",
    scenes=SCENES,
    group_of_scene=GROUP_OF_SCENE,
    devices=DEVICES,
    reference_device="a",
    device_subsets=DEVICE_SUBSETS,
    seen_devices=SEEN_DEVICES,
    sample_rate=44_100,
    channels=1,
    clip_seconds=1.0,
    file_name="audio/<scene>-<city>-<location>-<segment>-<second>-<device>.wav",
    lists=Lists(
        subsets={f"split{share}": f"evaluation_setup/split{share}.csv" for share in SUBSETS_OF_TRAIN},
        # Who has only the lists of 2024 can do without those of the record.
        instead={
            "evaluation_setup/fold1_train.csv": "evaluation_setup/split100.csv",
            "evaluation_setup/fold1_evaluate.csv": "evaluation_setup/test.csv",
        },
    ),
    licence="Tampere University's own: experimental, non-commercial use that names the source (LICENSE in the doc zip)",
    citation=(
        "T. Heittola, A. Mesaros, T. Virtanen: TAU Urban Acoustic Scenes 2022 Mobile, development dataset. Zenodo, "
        "2022. https://doi.org/10.5281/zenodo.6337421"
    ),
    archives=Archives(
        url="https://zenodo.org/records/6337421/files",
        # Clips x (WAV header + 1 s of 24-bit samples).
        unpacked_size=230_350 * (44 + 44_100 * 3),
        zips=(
            Archive(f"{_ZIP}.doc.zip", 16_819, "9c4f610bdb5d3e3e72a17d393a26452a"),
            Archive(f"{_ZIP}.meta.zip", 1_538_781, "419b6ff6570f1030730352dc80cd8d15"),
            Archive(f"{_ZIP}.audio.1.zip", 1_736_050_960, "8be14bdbd844481dce059ab31fbd2239"),
            Archive(f"{_ZIP}.audio.2.zip", 1_791_821_989, "e821abda49b069248bb75eab39df7575"),
            Archive(f"{_ZIP}.audio.3.zip", 1_878_561_499, "9c7897f78bb42ca0008936daddf3f8f3"),
            Archive(f"{_ZIP}.audio.4.zip", 1_887_825_128, "53ec3e37c0fc0be75f53c5abbc5300b8"),
            Archive(f"{_ZIP}.audio.5.zip", 1_832_871_840, "528422c33c5d10263203d2c61cb1f3be"),
            Archive(f"{_ZIP}.audio.6.zip", 1_836_165_296, "4759a9465c903e13e57d5e82e791fc28"),
            Archive(f"{_ZIP}.audio.7.zip", 1_737_838_582, "6d545fc83a55a17856a9ccc1ac9aff6b"),
            Archive(f"{_ZIP}.audio.8.zip", 1_758_317_867, "3a2916a9b5d3f43cc7a22a62b180b0d9"),
            Archive(f"{_ZIP}.audio.9.zip", 1_790_044_829, "071f664c86639ad730f7be4e3c39d886"),
            Archive(f"{_ZIP}.audio.10.zip", 1_736_836_871, "e0839d019e9b77ecbcbb0eff85965530"),
            Archive(f"{_ZIP}.audio.11.zip", 1_754_618_148, "fc60f1c83726be3963ae14fbcb95eeb4"),
            Archive(f"{_ZIP}.audio.12.zip", 1_748_795_940, "02246547f86c0a814dc63ec65d7033bb"),
            Archive(f"{_ZIP}.audio.13.zip", 1_844_234_922, "88ae9ef884665140d1572d8061725e00"),
            Archive(f"{_ZIP}.audio.14.zip", 1_854_884_822, "c3f400d74ae90e5190dc518cde43de47"),
            Archive(f"{_ZIP}.audio.15.zip", 1_877_789_093, "85594c6fe4f91c10aa2a410f748103b8"),
            Archive(f"{_ZIP}.audio.16.zip", 435_379_083, "6e2df8438c69f6789414aeba8cbad9d8"),
        ),
    ),
)
