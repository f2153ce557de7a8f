"""Alarms: failures of training, recognized in the log. docs/diagnostics.md derives the thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

Values = Mapping[str, float]
"""A row of the log: statistics by name."""


@dataclass(frozen=True)
class Rule:
    """When an alarm begins and ends, and its message.

    Attributes:
        name: name of the alarm.
        needs: columns that the rule reads; it ignores rows without one of them.
        begins: whether a row shows the failure.
        ends: whether a row shows that the failure is over. If neither, nothing changes.
        patience: number of steps that rows must show either before the alarm begins or ends.
        says: describes the failure with the row's numbers.
        remedy: what to try, as text or as a function of the row.
    """

    name: str
    needs: tuple[str, ...]
    begins: Callable[[Values], bool]
    ends: Callable[[Values], bool]
    patience: int
    says: Callable[[Values], str]
    remedy: str | Callable[[Values], str]


def _won(
    where: str,
    needs: tuple[str, ...],
    taken: Callable[[Values], float],
    remedy: str,
    *,
    clearly: Callable[[Values], bool] = lambda row: True,
) -> tuple[Rule, Rule]:
    """Rules that D or G has won.

    ``taken`` is D's estimate that generated samples are real, from 0 to 1; ``clearly`` is a further condition
    for D to have won.
    """

    def outputs(row: Values) -> str:
        return " and ".join(f"{name} {'is ' * (name == needs[0])}{_short(row[name])}" for name in needs)

    return (
        Rule(
            name=f"discriminator won{where}",
            needs=needs,
            begins=lambda row: taken(row) < 0.015 and clearly(row),
            ends=lambda row: taken(row) > 0.05,
            patience=300,
            says=lambda row: f"the discriminator has won: {outputs(row)}",
            remedy=remedy,
        ),
        Rule(
            name=f"generator won{where}",
            needs=needs,
            begins=lambda row: taken(row) > 0.985,
            ends=lambda row: taken(row) < 0.95,
            patience=300,
            says=lambda row: f"the generator has won: {outputs(row)}",
            remedy="try a larger discriminator, or a higher --discriminator-learning-rate",
        ),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        name="vanishing gradient",
        needs=("gradient_share", "D(G(z))"),
        # the gradient of the non-saturating loss vanishes too, if the generator has won
        begins=lambda row: row["gradient_share"] < 0.03 and row["D(G(z))"] < 0.5,
        ends=lambda row: row["gradient_share"] > 0.1,
        patience=300,
        says=lambda row: (
            "the discriminator has won: the generator's gradient is "
            f"{row['gradient_share']:.1g} of the non-saturating limit"
        ),
        remedy="try --generator-loss non-saturating",
    ),
    *_won(
        "",
        ("D(x)", "D(G(z))"),
        taken=lambda row: row["D(G(z))"],
        remedy="try --instance-noise, --r1-gamma, or a lower --learning-rate",
        # the rule above is for the saturating loss
        clearly=lambda row: row["D(x)"] > 0.8 and row["gradient_share"] > 0.5,
    ),
    *_won(
        " all pairs",
        ("D(x, G(z))",),
        taken=lambda row: 1 - row["D(x, G(z))"],
        remedy="try --r1-gamma with --r2-gamma, --instance-noise, or a lower --learning-rate",
    ),
    *_won(
        " on average",
        ("D~(x)", "D~(G(z))"),
        taken=lambda row: row["D~(G(z))"],
        remedy="try --r1-gamma with --r2-gamma, --instance-noise, or a lower --learning-rate",
    ),
    Rule(
        name="discriminator won beyond the margin",
        needs=("logit(x)", "logit(G(z))", "saturated"),  # saturated is 0 except for the hinge loss
        begins=lambda row: row["saturated"] > 0.95,
        ends=lambda row: row["saturated"] < 0.8,
        patience=300,
        says=lambda row: (
            f"the discriminator has won: {row['saturated']:.1%} of its logits lie beyond the hinge's margin, "
            f"logit(x) is {row['logit(x)']:.2g} and logit(G(z)) {row['logit(G(z))']:.2g}"
        ),
        remedy="try --instance-noise, --r1-gamma, or a lower --learning-rate",
    ),
    Rule(
        name="critic won",
        needs=("logit(x)", "logit(G(z))", "pack_distance"),
        begins=lambda row: _gap(row) > 0.5,
        ends=lambda row: _gap(row) < 0.35,
        patience=300,
        says=lambda row: (
            f"the discriminator has won: its logits of real and generated packs differ by {_gap(row):.0%} of "
            "the distance of two real packs"
        ),
        remedy="try a smaller discriminator, or a lower --discriminator-learning-rate",
    ),
    Rule(
        name="lost categories",
        needs=("categories", "categories_covered"),
        begins=lambda row: row["categories_covered"] < row["categories"],
        ends=lambda row: row["categories_covered"] == row["categories"],
        patience=500,
        says=lambda row: (
            f"{row['categories'] - row['categories_covered']:.0f} of {row['categories']:.0f} frequent "
            "categories are missing from the samples"
        ),
        remedy="train longer, or try a larger --pack; fastgan evaluate names them",
    ),
    Rule(
        name="constant numbers",
        needs=("numbers", "constant_numbers"),
        begins=lambda row: row["constant_numbers"] > 0,
        ends=lambda row: row["constant_numbers"] == 0,
        patience=500,
        says=lambda row: (
            f"{row['constant_numbers']:.0f} of {row['numbers']:.0f} columns of numbers are the same in all "
            "generated rows"
        ),
        remedy="try a lower --learning-rate",
    ),
    Rule(
        name="idle balance",
        needs=("k", "loss_G", "L(x)"),
        begins=lambda row: row["k"] < 1e-6,
        ends=lambda row: row["k"] > 1e-4,
        patience=1000,
        says=lambda row: (
            f"k stays at 0, as L(G(z)) is {row['loss_G'] / row['L(x)']:.2f} of L(x) and above the diversity "
            "ratio: the discriminator does not look at generated samples"
        ),
        remedy="try a higher --diversity-ratio",
    ),
    Rule(
        name="collapse",
        needs=("diversity",),
        begins=lambda row: row["diversity"] < 0.3,
        ends=lambda row: row["diversity"] > 0.5,
        patience=500,
        says=lambda row: f"{_less_diverse(row['diversity'])}: the generator has collapsed",
        remedy=lambda row: (
            "try a higher --diversity-ratio, or a lower --learning-rate"
            if "k" in row
            else "try --instance-noise, --pack 2, or a lower --learning-rate"
        ),
    ),
    Rule(
        name="missing modes",
        needs=("modes_covered", "modes", "high_quality"),
        # as long as samples are blurred, few lie near any mode
        begins=lambda row: row["modes_covered"] < 0.9 * row["modes"] and row["high_quality"] > 0.5,
        ends=lambda row: row["modes_covered"] >= 0.9 * row["modes"],
        patience=500,
        says=lambda row: f"samples cover {row['modes_covered']:.0f} of {row['modes']:.0f} modes",
        remedy="try --instance-noise, --pack 2, or a lower --learning-rate",
    ),
    Rule(
        name="escape",
        needs=("diversity",),
        begins=lambda row: row["diversity"] > 3,
        ends=lambda row: row["diversity"] < 2,
        patience=500,
        says=lambda row: (
            f"samples are {row['diversity']:.2g} times more diverse than the data: "
            "the discriminator does not hold the generator"
        ),
        remedy="try a larger discriminator, or a lower --learning-rate",
    ),
)


@dataclass(frozen=True)
class Alarm:
    """A failure found in the log.

    Attributes:
        name: name of its rule.
        since: step of the first row that showed the failure.
        raised: step at which the rule's patience ended.
        message: the failure, with the numbers of the last row that showed it, and what to try.
        ended: step at which the failure was over; None if it lasts.
    """

    name: str
    since: int
    raised: int
    message: str
    ended: int | None = None

    def __str__(self) -> str:
        over = "" if self.ended is None else f"over at step {self.ended:,}: "
        return f"{over}{self.message} (since step {self.since:,})"


class Watch:
    """Reads a run's log row by row and applies ``rules``.

    Attributes:
        alarms: all alarms so far, in the order in which they were raised.
    """

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self.alarms: list[Alarm] = []
        self._rules = rules
        self._lasting: dict[str, int] = {}  # rule's name -> index of its lasting alarm
        self._changing: dict[str, int] = {}  # rule's name -> first step of its current patience

    def update(self, step: int, values: Values) -> tuple[Alarm, ...]:
        """Read the next row.

        Returns:
            The lasting alarms, and those that end here.
        """
        before = list(self._lasting.values())
        for rule in self._rules:
            if all(name in values for name in rule.needs):
                self._apply(rule, step, values)
        return tuple(self.alarms[place] for place in dict.fromkeys([*before, *self._lasting.values()]))

    def _apply(self, rule: Rule, step: int, values: Values) -> None:
        place = self._lasting.get(rule.name)
        if place is not None and rule.begins(values):
            self.alarms[place] = replace(self.alarms[place], message=_message(rule, values))
        if not (rule.begins if place is None else rule.ends)(values):
            self._changing.pop(rule.name, None)
            return
        since = self._changing.setdefault(rule.name, step)
        if step - since < rule.patience:
            return
        del self._changing[rule.name]
        if place is None:
            self._lasting[rule.name] = len(self.alarms)
            self.alarms.append(Alarm(rule.name, since, step, _message(rule, values)))
        else:
            del self._lasting[rule.name]
            self.alarms[place] = replace(self.alarms[place], ended=step)


def _message(rule: Rule, values: Values) -> str:
    remedy = rule.remedy if isinstance(rule.remedy, str) else rule.remedy(values)
    return f"{rule.says(values)}; {remedy}"


def _gap(row: Values) -> float:
    """What a critic's logits tell apart, as a share of what a slope of 1 allows."""
    return (row["logit(x)"] - row["logit(G(z))"]) / row["pack_distance"]


def _short(output: float) -> str:
    return f"{output:.2f}" if output > 0.1 else f"{output:.1g}"


def _less_diverse(diversity: float) -> str:
    if diversity < 1e-3:
        return "samples are all alike"
    return f"samples are {1 / diversity:.0f} times less diverse than the data"
