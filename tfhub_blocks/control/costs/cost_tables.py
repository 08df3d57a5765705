"""Costs as text tables: estimates, accounts of runs, and spending."""

from collections.abc import Iterator, Sequence

from tfhub_blocks.control.costs.accounts import Account, Spending
from tfhub_blocks.control.costs.cost_estimates import CostEstimate
from tfhub_blocks.control.costs.prices import money
from tfhub_blocks.control.project.run_terms import Terms, total

UNKNOWN = "?"


def estimate_lines(it: CostEstimate) -> Iterator[str]:
    """Yield the lines of an estimate: one for each step, and the totals."""
    most = it.most
    if not most.currency:
        yield f"{it.name} with profile {it.profile}: runs locally, without cost"
    else:
        yield f"{it.name} with profile {it.profile}, in {most.currency} at prices of {it.prices_of}"
    rows = [["step", "runs on", "per hour", "limit", "at most", "expected", "s", "source"]]
    for name, step in it.steps.items():
        terms = step.terms
        seconds = "" if terms.expected_s is None else f"{terms.expected_s:,.0f}"
        costs = [_amount(terms.ceiling), _amount(step.expected), seconds, step.basis]
        rows.append([name, terms.place, _amount(terms.price_per_hour), _limit(terms), *costs])
    blank = ["", "", ""]
    rows.append(["all steps", *blank, _amount(most.of_steps), _amount(it.expected), "", ""])
    if most.currency:
        starts = [_amount(most.of_starts), _amount(it.expected_starts), "", ""]
        rows.append(["nodes start", *blank, *starts])
        idle = [_amount(most.of_idle_nodes), _amount(it.expected_idle), "", ""]
        rows.append(["idle nodes", *blank, *idle])
        for title, highest, expected in (
            ("disks", most.of_disks, it.expected_disks),
            ("load balancers", most.of_balancers, it.expected_balancers),
        ):
            if highest:
                rows.append([title, *blank, _amount(highest), _amount(expected), "", ""])
        rows.append(["total", *blank, _amount(most.total), _amount(it.expected_total), "", ""])
    yield from justified(rows, left=(0, 1, 7))
    if most.unbounded:
        yield f"not included: {'; '.join(most.unbounded)}"
    reused = [name for name, step in it.steps.items() if step.made_by]
    if reused:
        saved = f"{_amount(it.saved)} {most.currency}, " if most.currency else ""
        yield f"reuse saves {saved}{it.saved_s:,.0f} s: {', '.join(reused)}"
    if it.budget and it.budget.run is not None and most.total is not None:
        verdict = "above" if most.total > it.budget.run else "within"
        yield f"{verdict} the budget of a run, {money(it.budget.run)} {it.budget.currency}"


def account_lines(it: Account) -> Iterator[str]:
    """Yield the lines of a run's account: one for each step, and the totals."""
    priced = f", in {it.currency} at prices of {it.prices_of}" if it.currency else ""
    yield f"{it.run}: {it.status}{priced}"
    rows = [["step", "ran on", "status", "expected s", "s", "expected", "at most", "cost"]]
    for name, step in it.steps.items():
        status = f"{step.status} (reused)" if step.reused else step.status
        expected_s = "" if step.expected_s is None else f"{step.expected_s:,.0f}"
        seconds = f"{step.seconds:,.0f}"
        amounts = [_amount(amount) for amount in (step.expected, step.ceiling, step.actual)]
        rows.append([name, step.place, status, expected_s, seconds, *amounts])
    amounts = [_amount(amount) for amount in (it.expected, it.ceiling, it.actual)]
    rows.append(["all steps", "", "", "", "", *amounts])
    if it.currency:
        blank = [""] * 5
        rows.append(["idle nodes", *blank, _amount(it.idle_ceiling), _amount(it.idle)])
        most, actual = total([it.ceiling, it.idle_ceiling]), total([it.actual, it.idle])
        rows.append(["total", *blank, _amount(most), _amount(actual)])
    yield from justified(rows, left=(0, 1, 2))
    if it.actual is None:
        yield "the run's record has no prices: it is older than price records, or none were known"


def spending_lines(rows: Sequence[Spending], by: str) -> Iterator[str]:
    """Yield the lines of the spending by month and owner."""
    if not rows:
        yield "no runs found"
        return
    titles = ["month", by.replace("_", " "), "runs", "steps", "idle", "total", "at most"]
    lines = [[*titles, "currency"]]
    for row in rows:
        amounts = [money(it) for it in (row.steps, row.idle, row.total, row.ceiling)]
        lines.append([row.month, row.who, str(row.runs), *amounts, row.currency or "-"])
    yield from justified(lines, left=(0, 1, 7))
    if unpriced := sum(row.unpriced for row in rows):
        yield f"{unpriced} of the runs have no prices in their records; no amount includes them"
    if unfinished := sum(row.unfinished for row in rows):
        yield (
            f"{unfinished} of the runs had not ended when last queried;"
            " update one with `tfhub-blocks cost RUN`"
        )


def justified(rows: Sequence[Sequence[str]], left: Sequence[int]) -> Iterator[str]:
    """Yield rows as lines with aligned columns: left-aligned for those in ``left``, else right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _limit(terms: Terms) -> str:
    times = f"{terms.attempts} x " if terms.attempts > 1 else ""
    return f"{times}{terms.timeout_s:,} s"


def _amount(amount: float | None) -> str:
    return UNKNOWN if amount is None else money(amount)
