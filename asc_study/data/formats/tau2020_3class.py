"""TAU Urban Acoustic Scenes 2020 3Class, development data set (DCASE 2020 Task 1b).

Source: its README (Zenodo record 3670185). Names, sizes and MD5 sums of the zips are those of the record, as given in
dcase_util.
"""

from typing import Final

from asc_study.base.taxonomy import DEVICE_SUBSETS, DEVICES, GROUP_OF_SCENE, SCENES, SEEN_DEVICES
from asc_study.data.formats.data_format import Archive, Archives, DataFormat

_ZIP: Final = "TAU-urban-acoustic-scenes-2020-3class-development"

TAU2020_3CLASS: Final = DataFormat(
    name="tau2020-3class",
    title="TAU Urban Acoustic Scenes 2020 3Class",
    tasks=("three_class",),
    label="scene_group",
    scenes=SCENES,
    group_of_scene=GROUP_OF_SCENE,
    # Published with device a alone; `data add-devices` adds the others.
    devices=DEVICES,
    reference_device="a",
    device_subsets=DEVICE_SUBSETS,
    seen_devices=SEEN_DEVICES,
    sample_rate=48_000,
    channels=2,
    clip_seconds=10.0,
    file_name="audio/<scene>-<city>-<location>-<segment>-<device>.wav",
    licence="Tampere University's own: experimental, non-commercial use that names the source (LICENSE in the doc zip)",
    citation=(
        "T. Heittola, A. Mesaros, T. Virtanen: Acoustic scene classification in DCASE 2020 Challenge: generalization "
        "across devices and low complexity solutions. DCASE 2020 Workshop. "
        "https://doi.org/10.5281/zenodo.3670185"
    ),
    archives=Archives(
        url="https://zenodo.org/records/3670185/files",
        # Clips x (WAV header + 10 s of 24-bit samples).
        unpacked_size=14_400 * (44 + 480_000 * 2 * 3),
        zips=(
            Archive(f"{_ZIP}.doc.zip", 12_026, "1f50091832fef59ef79f7b7fcfc91525"),
            Archive(f"{_ZIP}.meta.zip", 154_856, "68de6dc1a81f8ef9c3a7851acda67786"),
            Archive(f"{_ZIP}.audio.1.zip", 1_657_560_336, "dab8b3564c1927eb8fc5906f61917ef9"),
            Archive(f"{_ZIP}.audio.2.zip", 1_654_366_875, "82995465514560a3dff486ffc1b77cab"),
            Archive(f"{_ZIP}.audio.3.zip", 1_817_911_349, "fda4f39dae354d6eea8662c4f8228b70"),
            Archive(f"{_ZIP}.audio.4.zip", 1_818_799_452, "6795666e7e872114a0bd8b7dea333761"),
            Archive(f"{_ZIP}.audio.5.zip", 1_803_128_209, "0920299dd8600c3fec421af79588535b"),
            Archive(f"{_ZIP}.audio.6.zip", 1_777_403_835, "65fab659046ef15c8ae3e15025737551"),
            Archive(f"{_ZIP}.audio.7.zip", 1_747_963_586, "55dd8e47bd868611d5e7bacad57b96b5"),
            Archive(f"{_ZIP}.audio.8.zip", 1_720_046_267, "9fdae7f1658160d6c4d844d642c1e762"),
            Archive(f"{_ZIP}.audio.9.zip", 1_667_115_976, "6178c22394a3bf0f67b2c47d1690c6d7"),
            Archive(f"{_ZIP}.audio.10.zip", 1_615_255_858, "d054358cfd7c9b568c03c2c87f6461c4"),
            Archive(f"{_ZIP}.audio.11.zip", 1_671_803_243, "fcbb4d5835f030819e099fc0701932dc"),
            Archive(f"{_ZIP}.audio.12.zip", 1_660_209_697, "92e6347acf82226d1458859b7ca281ba"),
            Archive(f"{_ZIP}.audio.13.zip", 1_673_491_310, "99570283c1dd64aaf954eb526fd2e394"),
            Archive(f"{_ZIP}.audio.14.zip", 1_660_091_069, "13efa3cd2084ccdba76b1087a4fac57f"),
            Archive(f"{_ZIP}.audio.15.zip", 1_675_136_726, "1e3cc2fed352cf9331a815f2c969458a"),
            Archive(f"{_ZIP}.audio.16.zip", 1_648_250_719, "d232c47c39d9f2683ef805565ad9b068"),
            Archive(f"{_ZIP}.audio.17.zip", 1_693_567_638, "75bd9417b8134476122c7f8a8fb11d4b"),
            Archive(f"{_ZIP}.audio.18.zip", 1_731_103_523, "ae04e9ed8da615b2f1f9aa5e02b9c3f2"),
            Archive(f"{_ZIP}.audio.19.zip", 1_745_163_308, "284fe9195bdbd5159438bac5ea4595e1"),
            Archive(f"{_ZIP}.audio.20.zip", 1_774_048_510, "7e2f15f5f19114ffcb0b94f0a15fa272"),
            Archive(f"{_ZIP}.audio.21.zip", 1_331_132_724, "e5d0491071d6a652fe3693586770fdc0"),
        ),
    ),
)
