"""The fusion rules by name.

The paper's ensembles are plain averages (section 5.3) and, for Task 1b, logistic regression (section 5.4).
"""

from collections.abc import Mapping
from typing import Any, Final

from asc_study.base.errors import InputError, shown
from asc_study.base.plugins import Parts
from asc_study.ensemble.rules import FusionRule

#: Name of a rule, as users write it -> the rule.
FUSIONS: Final = Parts[type[FusionRule]](
    "fusion_rule",
    FusionRule,
    {
        "average": "asc_study.ensemble.rules.average:Average",
        "weighted": "asc_study.ensemble.rules.weighted:Weighted",
        "product": "asc_study.ensemble.rules.product:Product",
        "logistic": "asc_study.ensemble.rules.logistic:Logistic",
    },
    subclasses=True,
)


def find_fusion(name: str) -> type[FusionRule]:
    """The fusion rule of that name: built in, of an installed package, or ``module:class``.

    Raises
    ------
    InputError
        If there is none, or it cannot be imported.
    """
    return FUSIONS.find(name)


def fusion_settings(name: str) -> dict[str, str]:
    """What of a rule makes a fusion the same: its name, and the code of one that is not built in."""
    if name in FUSIONS:
        return {"fusion": name}
    from asc_study.base.source import source_digest

    return {"fusion": name, "fusion_code": source_digest(find_fusion(name))}


def read_rule(raw: Any, where: str) -> FusionRule:
    """The fitted rule that `FusionRule.to_dict` gave.

    Raises
    ------
    InputError
        If there is no such rule, or what it learned is damaged; ``where`` is what it is called then.
    """
    if not isinstance(raw, Mapping) or not isinstance(raw.get("rule"), str):
        raise InputError(f"{where} must be a fusion rule with its name as `rule`, got {shown(raw)}: it is damaged")
    return find_fusion(raw["rule"]).from_dict(raw, where)
