"""TAU Urban Acoustic Scenes 2020 Mobile, development data set (DCASE 2020 Task 1a).

Source: its README (Zenodo record 3819968). Names, sizes and MD5 sums of the zips are those of the record, as given in
dcase_util and soundata 1.0.1 (the sums are the same).
"""

from typing import Final

from asc_study.base.taxonomy import DEVICE_SUBSETS, DEVICES, GROUP_OF_SCENE, SCENES, SEEN_DEVICES
from asc_study.data.formats.data_format import Archive, Archives, DataFormat

_ZIP: Final = "TAU-urban-acoustic-scenes-2020-mobile-development"

TAU2020_MOBILE: Final = DataFormat(
    name="tau2020-mobile",
    title="TAU Urban Acoustic Scenes 2020 Mobile",
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
    clip_seconds=10.0,
    file_name="audio/<scene>-<city>-<location>-<segment>-<device>.wav",
    licence="Tampere University's own: experimental, non-commercial use that names the source (LICENSE in the doc zip)",
    citation=(
        "T. Heittola, A. Mesaros, T. Virtanen: Acoustic scene classification in DCASE 2020 Challenge: generalization "
        "across devices and low complexity solutions. DCASE 2020 Workshop. "
        "https://doi.org/10.5281/zenodo.3819968"
    ),
    archives=Archives(
        url="https://zenodo.org/records/3819968/files",
        # Clips x (WAV header + 10 s of 24-bit samples).
        unpacked_size=23_040 * (44 + 441_000 * 3),
        zips=(
            Archive(f"{_ZIP}.doc.zip", 18_066, "175f40dc3fec144347abad4d2962b7ae"),
            Archive(f"{_ZIP}.meta.zip", 214_159, "6eae9db553ce48e4ea246e34e50a3cf5"),
            Archive(f"{_ZIP}.audio.1.zip", 1_726_039_031, "b1e85b8a908d3d6a6ab73268f385d5c8"),
            Archive(f"{_ZIP}.audio.2.zip", 1_782_268_370, "4310a13cc2943d6ce3f70eba7ba4c784"),
            Archive(f"{_ZIP}.audio.3.zip", 1_870_468_865, "ed38956c4246abb56190c1e9b602b7b8"),
            Archive(f"{_ZIP}.audio.4.zip", 1_879_413_176, "97ab8560056b6816808dedc044dcc023"),
            Archive(f"{_ZIP}.audio.5.zip", 1_823_936_584, "b50f5e0bfed33cd8e52cb3e7f815c6cb"),
            Archive(f"{_ZIP}.audio.6.zip", 1_827_246_144, "fbf856a3a86fff7520549c899dc94372"),
            Archive(f"{_ZIP}.audio.7.zip", 1_728_630_243, "0dbffe7b6e45564da649378723284062"),
            Archive(f"{_ZIP}.audio.8.zip", 1_748_646_043, "bb6f77832bf0bd9f786f965beb251b2e"),
            Archive(f"{_ZIP}.audio.9.zip", 1_780_487_215, "a65596a5372eab10c78e08a0de797c9e"),
            Archive(f"{_ZIP}.audio.10.zip", 1_726_068_853, "2ad595819ffa1d56d2de4c7ed43205a6"),
            Archive(f"{_ZIP}.audio.11.zip", 1_744_480_272, "0ad29f7040a4e6a22cfd639b3a6738e5"),
            Archive(f"{_ZIP}.audio.12.zip", 1_738_707_195, "e5f4400c6b9697295fab4cf507155a2f"),
            Archive(f"{_ZIP}.audio.13.zip", 1_835_797_785, "8855ab9f9896422746ab4c5d89d8da2f"),
            Archive(f"{_ZIP}.audio.14.zip", 1_846_390_881, "092ad744452cd3e7de78f988a3d13020"),
            Archive(f"{_ZIP}.audio.15.zip", 1_869_032_508, "4b5eb85f6592aebf846088d9df76b420"),
            Archive(f"{_ZIP}.audio.16.zip", 436_971_777, "2e0a89723e58a3836be019e6996ae460"),
        ),
    ),
)
