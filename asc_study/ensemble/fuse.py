"""The fusion rules by name.

The paper's ensembles are plain averages (section 5.3) and, for Task 1b, logistic regression (section 5.4).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from asc_study.base.errors import InputError, shown
from asc_study.ensemble.rules import FusionRule
from asc_study.ensemble.rules.average import Average
from asc_study.ensemble.rules.logistic import Logistic
from asc_study.ensemble.rules.product import Product
from asc_study.ensemble.rules.weighted import Weighted

_BUILT_IN: Final[tuple[type[FusionRule], ...]] = (
    Average,
    Weighted,
    Product,
    Logistic,
)

#: Name of a rule, as users write it -> the rule.
FUSIONS: Final[Mapping[str, type[FusionRule]]] = MappingProxyType({rule.name: rule for rule in _BUILT_IN})


def find_fusion(name: str) -> type[FusionRule]:
    """The fusion rule of that name: built in, of an installed package, or ``module:class``.

    Raises
    ------
    InputError
        If there is none, or it cannot be imported.
    """
    if name in FUSIONS:
        return FUSIONS[name]
    from asc_study.base.plugins import find  # which needs more than a deployed system has

    found: type[FusionRule] = find("fusion_rule", name, FUSIONS, FusionRule)
    return found


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
