"""Evidence over many looks: an alarm whose chance is bounded for any number of looks.

Each look compares the new items with the reference and the items of all earlier looks. Without a
shift all of them are exchangeable, so the p-values of the looks are independent and uniform, also
with a small fixed reference: the p-value of a look depends on which items of the pool are new, and
earlier p-values depend on the arrangement of the rest. A bet that pays ``bet(p)`` at each look, of
expectation 1, is then a martingale, and by Ville's inequality it reaches 1 / alpha with a
probability of at most alpha, however often one looks (conformal test martingales: Vovk, Gammerman
and Shafer, Algorithmic Learning in a Random World, chapter 8).
"""

# decision 90

import numpy as np


def bet(p: float) -> float:
    """Return the payment of a bet against uniform p-values, of expectation 1.

    It is the mean of ``k * p ** (k - 1)`` over k from 0 to 1: no strength of a shift is chosen.
    """
    p = min(max(p, 1e-300), 1.0)
    log = np.log(p)
    # Near 1 the formula loses all digits; its limit there is 1/2.
    return 0.5 if log > -1e-4 else float((1 - p + p * log) / (p * log**2))
