"""Which of several systems no other beats in two things at once."""

import numpy as np
import numpy.typing as npt


def front(cost: npt.NDArray[np.floating], accuracy: npt.NDArray[np.floating]) -> list[int]:
    """Places of the systems that no other beats in both: less cost, more accuracy (the Pareto front).

    Parameters
    ----------
    cost, accuracy
        (m,) of m systems; a system equal to another in both stands on the front with it.
    """
    found = []
    for place in range(len(cost)):
        as_good = (cost <= cost[place]) & (accuracy >= accuracy[place])
        better = (cost < cost[place]) | (accuracy > accuracy[place])
        if not (as_good & better).any():
            found.append(place)
    return found
