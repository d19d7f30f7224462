"""Mean, standard deviation and correlation of numbers that are seen once and not kept."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt


@dataclass
class Sums:
    """Sums over (x, y); exact for integers, whatever their number. What cannot be computed of them is None."""

    count: int = 0
    x: float = 0
    y: float = 0
    xx: float = 0
    yy: float = 0
    xy: float = 0

    @classmethod
    def of(cls, counts: Iterable[tuple[float, float, int]]) -> "Sums":
        """Over (x, y, how often)."""
        sums = cls()
        for x, y, times in counts:
            sums.add(x, y, times)
        return sums

    def add(self, x: float, y: float = 0, times: int = 1) -> None:
        self.count += times
        self.x += times * x
        self.y += times * y
        self.xx += times * x * x
        self.yy += times * y * y
        self.xy += times * x * y

    @property
    def mean(self) -> float | None:
        """Of x."""
        return self.x / self.count if self.count else None

    @property
    def std(self) -> float | None:
        """Of x, over the population."""
        return sqrt(self._spread_of_x) / self.count if self.count else None

    @property
    def pearson(self) -> float | None:
        """Of x and y; None where one of them does not vary."""
        spread_of_y = self.count * self.yy - self.y**2
        if self._spread_of_x <= 0 or spread_of_y <= 0:
            return None
        return (self.count * self.xy - self.x * self.y) / sqrt(self._spread_of_x) / sqrt(spread_of_y)

    @property
    def _spread_of_x(self) -> float:
        """count^2 times the variance of x; above 0 by rounding alone where x is no integer, and never below."""
        return max(self.count * self.xx - self.x**2, 0)
