"""What stands against believing a benchmark's figures."""

WIDE = 0.10
"""Width of a ratio's interval, as a share of the ratio, from which it says too little."""

BUSY = 0.25
"""Cores that other programs may keep busy unreproached."""

DRIFT = 0.05
"""Change of the processor's clock between beginning and end that is remarked on, as a share."""


def doubts(report):
    """Sentences on what is wrong with a `Report`, the gravest first."""
    return [
        *_wide_intervals(report),
        *_other_work(report),
        *_unstable(report),
        *_unlike(report),
        *_few_calls(report),
    ]


def _wide_intervals(report):
    wide = [result for result in report.results() if result.ratio.width > WIDE]
    for scope in report.seconds:
        unsure = [
            f"{result.contender} ({result.ratio.low:.2f}..{result.ratio.high:.2f})"
            for result in wide
            if result.scope == scope
        ]
        if unsure:
            yield (
                f"{scope}: the ratio is known to no better than {100 * WIDE:.0f} % for "
                f"{', '.join(unsure)}; take more rounds, or a quieter machine"
            )


def _other_work(report):
    before, after = report.conditions["before"], report.conditions["after"]
    others = report.conditions["other_cores"]
    if others is not None and others > BUSY:
        yield (
            f"other programs kept {others:.1f} of {report.machine['cores']} cores busy meanwhile; "
            "times are longer than they would be, and ratios less sure"
        )
    if others is None and before["load"] is not None and before["load"] > 2 * BUSY:
        yield f"the load was {before['load']:.1f} before the benchmark began"
    clocks = [max(state["cpu_mhz"]) for state in (before, after) if state["cpu_mhz"]]
    if len(clocks) == 2 and abs(clocks[1] - clocks[0]) > DRIFT * clocks[0]:
        yield f"the processor's clock went from {clocks[0]:.0f} to {clocks[1]:.0f} MHz"


def _unstable(report):
    for name, facts in report.contenders.items():
        for scope, warm_up in facts["warm_up"].items():
            if not warm_up["stable"]:
                yield (
                    f"{scope}: {name} was still changing its pace after {warm_up['calls']} calls "
                    f"of warm-up ({warm_up['seconds']:.0f} s)"
                )


def _unlike(report):
    """Differences between contenders that make them do different work."""
    facts = report.contenders.values()
    outputs = {fact["output"] for fact in facts}
    if "network" in report.seconds and len(outputs) > 1:
        yield (
            f"network: contenders end in different outputs ({', '.join(sorted(outputs))}), so "
            "some do more than others there; the scopes copies and file end alike"
        )
    if "network" in report.seconds and len({fact["clock"] for fact in facts}) > 1:
        yield (
            "network: some contenders are timed by their device's clock, without copies, others "
            "by the wall clock of a whole call"
        )
    if len({(fact["batch"], *fact["size"]) for fact in facts}) > 1:
        yield "contenders take images of different sizes or numbers; ratios are per image"
    classes = {fact["classes"] for fact in facts} - {None}
    if len(classes) > 1:
        yield f"contenders tell different numbers of classes apart ({sorted(classes)})"
    if not report.setting["isolated"] and len(report.contenders) > 1:
        yield "contenders shared one process, whose idle thread pools may slow each other down"


def _few_calls(report):
    if min(result.calls for result in report.results()) < 100:
        yield "fewer than 100 calls of some contender: its p99 is little else than the slowest"
