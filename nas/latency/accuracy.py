"""How well predicted latencies agree with measured ones."""

from dataclasses import asdict, dataclass

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class PredictionErrors:
    """Of predictions for items that the model had not seen.

    Args:
        count: how many items were predicted.
        mape: mean of |predicted / measured - 1|.
        within_5, within_10: share of items whose prediction is off by at most 5 and 10 per cent.
        tau: Kendall's tau-b between predicted and measured; 0 where either has one value only.
        bias: mean of predicted / measured - 1.
    """

    count: int
    mape: float
    within_5: float
    within_10: float
    tau: float
    bias: float

    def __str__(self) -> str:
        """For reading: `MAPE 2.3 %, 94 % within 10 %, tau .91, on 100`."""
        tau = f"{self.tau:.2f}".replace("0.", ".", 1)
        return f"MAPE {self.mape:.1%}, {self.within_10:.0%} within 10 %, tau {tau}, on {self.count}".replace(
            "%", " %", 2
        )

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


def accuracy(predicted: Array, measured: Array) -> PredictionErrors:
    """Agreement of predictions (n,) with measured values (n,) above 0."""
    off = predicted / measured - 1
    far = np.abs(off)
    return PredictionErrors(
        count=len(off),
        mape=float(far.mean()),
        within_5=float((far <= 0.05).mean()),
        within_10=float((far <= 0.1).mean()),
        tau=kendall_tau(predicted, measured),
        bias=float(off.mean()),
    )


def kendall_tau(one: Array, other: Array) -> float:
    """Kendall's tau-b of two rankings (n,), in n steps of n comparisons; 0 where either has one value only."""
    agreed = first = second = 0.0
    for place in range(1, len(one)):
        a, b = np.sign(one[place] - one[:place]), np.sign(other[place] - other[:place])
        agreed, first, second = agreed + float(a @ b), first + float(a @ a), second + float(b @ b)
    return agreed / float(np.sqrt(first * second)) if first and second else 0.0
