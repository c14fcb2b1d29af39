"""Formats the report of a benchmark as text."""

from keras_crosscbam.benchmark.paper_protocols import PROTOCOLS
from keras_crosscbam.benchmark.timing import SCOPES


def table(report):
    """Returns the text of a `Report`: conditions, contenders, a table per scope, warnings."""
    width = max(map(len, [*report.contenders, "contender"])) + 2
    lines = [*_conditions(report), "", *_contenders(report, width)]
    results = report.results()
    for scope in report.seconds:
        lines += ["", f"{scope}: {SCOPES[scope]}"]
        head = f"time as a multiple of {report.reference} (95 %)"
        lines.append(f"{'contender':<{width}}{'ms p50':>9}{'p90':>9}{'p99':>9}{'FPS':>9}  {head}")
        lines += [_row(result, width) for result in results if result.scope == scope]
    lines += _published(report, width)
    lines += ["", *(f"left out: {name}: {reason}" for name, reason in report.left_out.items())]
    lines += [f"warning: {warning}" for warning in report.warnings()]
    return "\n".join(lines).rstrip()


def _conditions(report):
    machine, setting, conditions = report.machine, report.setting, report.conditions
    before, after, others = (conditions[key] for key in ("before", "after", "other_cores"))
    used = len(setting["affinity"]) if setting["affinity"] else machine["cores"]
    clock = f" at {before['cpu_mhz'][1]:.0f} MHz" if before["cpu_mhz"] else ""
    yield f"{machine['cpu']}, {used} of {machine['cores']} cores{clock}, {machine['system']}"
    for gpu, start, end in zip(machine["gpus"], before["gpus"], after["gpus"], strict=False):
        yield (
            f"{gpu['name']}, driver {gpu['driver_version']}, {start['clocks.sm']} MHz before, "
            f"{end['clocks.sm']} after, of {gpu['clocks.max.sm']}"
        )
    libraries = {k: v for fact in report.contenders.values() for k, v in fact["versions"].items()}
    listed = (f"{name} {version}" for name, version in sorted(libraries.items()))
    yield f"Python {machine['python']}, {', '.join(listed)}"
    for name, value in machine["environment"].items():
        yield f"{name}={value}"
    if before["load"] is not None:
        busy = "" if others is None else f"; other programs used {others:.2f} cores"
        yield f"load {before['load']:.2f} before, {after['load']:.2f} after{busy}"
    height, width = setting["image_size"]
    threads = "" if setting["threads"] is None else f", threads: {setting['threads']}"
    where = "each contender in a separate process" if setting["isolated"] else "one process"
    image = f"image {setting['image']} {height}x{width}"
    yield f"{setting['date']}: {setting['rounds']} rounds, {where}{threads}; {image}"


def _contenders(report, width):
    head = "peak memory over that before loading"
    yield f"{'contender':<{width}}{'takes':<26}{'gives':<15}{'file':>10}  {head}"
    for name, facts in report.contenders.items():
        takes = "x".join(map(str, [facts["batch"], *facts["size"]])) + f" {facts['pixels']}"
        usage, peak = facts.get("usage", {}), ""
        if usage.get("memory_peak"):
            own = usage["memory_peak"] - usage["memory_before"]
            peak = f"{_megabytes(own)} over {_megabytes(usage['memory_before'])}"
        size = _megabytes(facts["file_bytes"]) if facts["file_bytes"] else ""
        yield f"{name:<{width}}{takes:<26}{facts['output']:<15}{size:>10}  {peak}".rstrip()


def _row(result, width):
    times = "".join(f"{1000 * s:9.2f}" for s in (result.p50, result.p90, result.p99))
    ratio = f"{result.ratio.median:.3f} ({result.ratio.low:.3f}..{result.ratio.high:.3f})"
    return f"{result.contender:<{width}}{times}{result.fps:9.2f}  {ratio}"


def _published(report, width):
    """Yields the results of the published loops, next to the FPS of the rounds."""
    if not report.published:
        return
    rates = {(r.scope, r.contender): r.fps for r in report.results()}
    yield "\nTiming loops of published figures: means of one block, without rounds"
    yield f"{'contender':<{width}}{'loop':<16}{'FPS':>9}{'by rounds':>11}{'calls':>13}"
    for loop in report.published:
        name, protocol = loop["contender"], loop["protocol"]
        scope = "copies" if PROTOCOLS[protocol].input == "image" else "network"
        rate = rates.get((scope, name))
        by_rounds = "" if rate is None else f"{rate:.2f}"
        calls = f"{loop['calls']}/{loop['prescribed']}"
        yield f"{name:<{width}}{protocol:<16}{loop['fps']:9.2f}{by_rounds:>11}{calls:>13}"


def _megabytes(size):
    return f"{size / 1e6:.1f} MB"


WIDE = 0.10
"""Width of a ratio's interval, as a share of the ratio, above which there is a warning."""

BUSY = 0.25
"""Number of cores used by other programs above which there is a warning."""

DRIFT = 0.05
"""Change of the processor's clock, as a share, above which there is a warning."""


def warnings(report):
    """Returns warnings about a `Report`, a list of sentences, most important first."""
    return [
        *_wide_intervals(report),
        *_other_work(report),
        *_unstable(report),
        *_different_work(report),
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
                f"{scope}: the interval of the ratio is wider than {100 * WIDE:.0f} % for "
                f"{', '.join(unsure)}; use more rounds, or a machine with less other work"
            )


def _other_work(report):
    before, after = report.conditions["before"], report.conditions["after"]
    others = report.conditions["other_cores"]
    if others is not None and others > BUSY:
        yield (
            f"other programs used {others:.1f} of {report.machine['cores']} cores during the "
            "benchmark; times are longer and ratios less exact than without them"
        )
    if others is None and before["load"] is not None and before["load"] > 2 * BUSY:
        yield f"the load was {before['load']:.1f} before the benchmark started"
    clocks = [max(state["cpu_mhz"]) for state in (before, after) if state["cpu_mhz"]]
    if len(clocks) == 2 and abs(clocks[1] - clocks[0]) > DRIFT * clocks[0]:
        yield f"the processor's clock changed from {clocks[0]:.0f} to {clocks[1]:.0f} MHz"


def _unstable(report):
    for name, facts in report.contenders.items():
        for scope, warm_up in facts["warm_up"].items():
            if not warm_up["stable"]:
                yield (
                    f"{scope}: the times of {name} were not stable after {warm_up['calls']} calls "
                    f"of warm-up ({warm_up['seconds']:.0f} s)"
                )


def _different_work(report):
    """Yields warnings about contenders that do different work."""
    facts = report.contenders.values()
    outputs = {fact["output"] for fact in facts}
    if "network" in report.seconds and len(outputs) > 1:
        yield (
            f"network: contenders have different outputs ({', '.join(sorted(outputs))}), so some "
            "do more work than others; the scopes copies and file have the same output"
        )
    if "network" in report.seconds and len({fact["clock"] for fact in facts}) > 1:
        yield (
            "network: some contenders are timed by their device's clock, without copies, others "
            "by the wall clock of a complete call"
        )
    if len({(fact["batch"], *fact["size"]) for fact in facts}) > 1:
        yield "contenders take different image sizes or batch sizes; ratios are per image"
    classes = {fact["classes"] for fact in facts} - {None}
    if len(classes) > 1:
        yield f"contenders have different numbers of classes ({sorted(classes)})"
    if not report.setting["isolated"] and len(report.contenders) > 1:
        yield "contenders ran in one process, where idle thread pools may slow down each other"


def _few_calls(report):
    if min(result.calls for result in report.results()) < 100:
        yield "some contender has fewer than 100 calls: its p99 is close to the slowest call"
