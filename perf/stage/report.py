"""perf/stage/report.py: what a run has kept, told: medians and spread, ratios, a table for the terminal, Markdown, and a picture's data.

A kept run is JSON:

    {"format": 1, "machine": {...}, "versions": {...},
     "rows": {name: {"made": time, "commit": of our tree, "words": {what was asked for}, "unit", "headline", "says", "ratios": [{"ours", "rivals", "at_most" or "at_least"}],
                     "rounds": [{contestant: figures of measures.py}], "before": [{what was found before each}],
                     "rate_ratios": [of a row of capacity], "calls": {contestant: {...}}, "failed": sentence}}}

All that is told is computed from the rounds, so that an old run is told as a new one is.
"""
import json
import pathlib
import statistics

from stage.machine import TREE, fail
from stage.rows import FIGURES, HIGHER_IS_BETTER, headline_words, many

FORMAT = 1
# Words of perf/compare as they are where nobody says anything; those of ALWAYS_KEPT are kept all the same.
DEFAULTS = {"rounds": 5, "seconds": 2, "warm": 0.5, "ahead": False, "only": [], "no_calls": False, "clients": None, "sites": 100, "heartbeat": 30,
            "version": "1.3", "key": "ecdsa", "group": "X25519", "disk": TREE / "build/perf", "postern": TREE / "build/postern"}
ALWAYS_KEPT = ("seconds", "warm", "ahead", "key", "group", "clients")


def read(path):
    try:
        kept = json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except ValueError as error:
        fail(f"{path}: not JSON: {error}")
    if not isinstance(kept, dict) or kept.get("format") != FORMAT:
        fail(f"{path}: not what perf/compare --json keeps (format {FORMAT})")
    return kept


def replaces(row, before):
    """A row that failed is kept as well, so that the table says so, but never in place of a whole one."""
    return "failed" not in row or before is None or "failed" in before


def write(path, kept):
    """Whole or not at all: what was kept before stays until then."""
    path = pathlib.Path(path)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    beside.replace(path)


def kept_words(words):
    """Of what was asked for: whatever is not the default, and what is always kept. How many rounds there were is seen."""
    asked = {key: getattr(words, key) for key in DEFAULTS if key != "rounds"}
    return {key: str(value) if isinstance(value, pathlib.Path) else value for key, value in asked.items()
            if key in ALWAYS_KEPT or value != DEFAULTS[key]}


# ---- figures -------------------------------------------------------------------------------------

def values(row, label, key):
    return [round_[label][key] for round_ in row["rounds"] if label in round_ and key in round_[label]]


def median(row, label, key):
    found = values(row, label, key)
    return statistics.median(found) if found else None


def labels(row):
    return list(dict.fromkeys(label for round_ in row["rounds"] for label in round_))


def ratios(row, key=None):
    """Of each that can be told: ours to the better rival, medians and round by round, and whether what is asked holds: of the headline. By another
    figure nothing is asked."""
    bounds = () if key else ("at_most", "at_least")
    key, told = key or row["headline"], []
    for ratio in row["ratios"]:
        present = [label for label in ratio["rivals"] if median(row, label, key) is not None]
        ours = median(row, ratio["ours"], key)
        if ours is None or not present:
            continue
        better = (max if key in HIGHER_IS_BETTER else min)(present, key=lambda label: median(row, label, key))
        if not median(row, better, key):
            continue
        each = [round_[ratio["ours"]][key] / round_[better][key] for round_ in row["rounds"]
                if ratio["ours"] in round_ and round_.get(better, {}).get(key)]
        value = ours / median(row, better, key)
        one = {"ours": ratio["ours"], "rival": better, "value": value, "least": min(each), "most": max(each)}
        for bound in bounds:
            if bound in ratio:
                one.update(bound=bound, asked=ratio[bound], holds=value <= ratio[bound] if bound == "at_most" else value >= ratio[bound])
        told.append(one)
    return told


def ratio_words(one):
    sign = {"at_most": "≤", "at_least": "≥"}
    asked = f"; asked {sign[one['bound']]} {one['asked']:g}: {one['value']:.2f} {'✓' if one['holds'] else '✗'}" if "asked" in one else ""
    return f"{one['ours']} / {one['rival']}: {one['value']:.2f} (round by round {one['least']:.2f}-{one['most']:.2f}){asked}"


def limit(row, label):
    """Who was at the end of his strength; "neither": both waited, for each other or for others. Where capacity is measured, server and load
    may have the same cores, and their shares say only who took which part."""
    if median(row, label, "server") is None or row["headline"] == "capacity":
        return "–"
    shares = {key: median(row, label, key) or 0 for key in ("server", "load", "service", "others")}
    if shares["server"] + shares["others"] >= 0.95:
        return "server" if shares["others"] < 0.1 else "others"
    return "load" if shares["load"] + shares["service"] >= 0.95 else "neither"


# ---- the terminal --------------------------------------------------------------------------------

def scaled(key, value):
    return value / FIGURES[key][2]


def number(value):
    return "–" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:.2f}"


def percent(value):
    return "–" if value is None else f"{100 * value:.0f} %"


def beside(row):
    """Of CPU time and rate, what the headline is not."""
    return [key for key in ("cpu_us", "rate") if key != row["headline"]]


def cells(row, label):
    """Of one contestant, all as words, in the order of HEADS."""
    key = row["headline"]
    spread = [scaled(key, value) for value in values(row, label, key)]
    calls = row.get("calls", {}).get(label)
    latency = [median(row, label, which) for which in ("p50_us", "p99_us")]
    return [label, number(statistics.median(spread)), f"{number(min(spread))}-{number(max(spread))}",
            *(number(median(row, label, which)) for which in beside(row)),
            *(number(scaled("p50_us", value)) if value is not None else "–" for value in latency),
            f"{calls['io_uring_enter']:.3f}" if calls else "–", f"{calls['all']:.3f}" if calls else "–",
            *(percent(median(row, label, which)) for which in ("server", "others", "load", "service")), limit(row, label)]


def heads(row):
    unit = row["unit"]
    return ["", headline_words(row["headline"], unit), "from-to", *(headline_words(which, unit) for which in beside(row)), "p50 ms", "p99 ms",
            f"enters/{unit}", f"calls/{unit}",
            "server", "others", "load", "service", "limit"]


def grid(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths)))
                     for line in lines)


def steps(row):
    """A row at several rates has a line for each."""
    for label in labels(row):
        each = [round_[label]["steps"] for round_ in row["rounds"] if round_.get(label, {}).get("steps")]
        for same in zip(*each):
            yield label, {key: statistics.median(one[key] for one in same) for key in same[0]}


def step_words(label, step, unit):
    return (f"{label} at {step['percent']:.0f} % ({step['rate']:.0f}/s): p50 {step['p50_us'] / 1000:.2f}, p99 {step['p99_us'] / 1000:.2f}, "
            f"p99.9 {step['p999_us'] / 1000:.2f} ms, {number(step.get('cpu_us'))} {headline_words('cpu_us', unit)}"
            + (f", {step['owed']:.0f} never begun" if step.get("owed") else ""))


def beside_capacity(row):
    """Capacity is what CPU time promises; this is what came of it: rates, and what a unit cost server and load together."""
    if row["headline"] != "capacity":
        return
    for one in ratios(row, "rate"):
        yield f"rates, {many(row['unit'])}/s: {ratio_words(one)}"
    each = [(label, median(row, label, "both_cpu_us")) for label in labels(row)]
    if any(value for _, value in each):
        yield f"server and load, {headline_words('cpu_us', row['unit'])}: " + "; ".join(f"{label} {number(value)}" for label, value in each)


def told(name, row):
    """A row, for the terminal."""
    lines = [f"{name}: {row['says']}"]
    if row["rounds"]:
        lines.append(grid([heads(row), *(cells(row, label) for label in labels(row))]))
        lines += [step_words(label, step, row["unit"]) for label, step in steps(row)]
        for label in labels(row):
            faults = next((result["faults"] for round_ in row["rounds"] for result in [round_.get(label, {})] if result.get("faults")), [])
            lines += [f"{label}: {fault}" for fault in faults]
        lines += [ratio_words(one) for one in ratios(row)]
        lines += beside_capacity(row)
        if len(row["rounds"]) < 3:
            lines.append(f"{len(row['rounds'])} of at least 3 rounds: no figure to keep")
    if row.get("failed"):
        lines.append(f"failed: {row['failed']}")
    return "\n".join(lines)


# ---- Markdown and pictures -----------------------------------------------------------------------

def machine_words(kept):
    machine = kept["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in kept["versions"].items())
    return f"{machine['processors']}{' virtual' if machine['virtual'] else ''} processors ({machine['processor']}), {machine['kernel']}; {versions}"


def between(words):
    """"3", or "3 to 5"."""
    words = sorted(set(words))
    return f"{words[0]}" if len(words) == 1 else f"{words[0]} to {words[-1]}"


def asked_words(rows):
    """What was asked for and is not the default, as it is said; of which rows, where not of all. How long is told apart."""
    said = {}
    for name, row in rows.items():
        for key, value in row["words"].items():
            if key != "seconds" and value != DEFAULTS.get(key):
                value = "; ".join(value) if isinstance(value, list) else value
                word = f"--{key.replace('_', '-')}" + ("" if value is True else f" '{value}'" if " " in str(value) else f" {value}")
                said.setdefault(word, []).append(name)
    return [word if len(names) == len(rows) else f"{word} ({', '.join(names)})" for word, names in said.items()]


def made_briefly(kept):
    """When, and how long."""
    rows = [row for row in kept["rows"].values() if row["rounds"]]
    if not rows:
        return "nothing was measured"
    return (f"{between(row['made'][:10] for row in rows)}, {between(len(row['rounds']) for row in rows)} rounds of "
            f"{between(row['words']['seconds'] for row in rows)} s")


def made_words(kept):
    """The same, and by which words, and of which state of our tree."""
    rows = {name: row for name, row in kept["rows"].items() if row["rounds"]}
    commits = sorted({row["commit"] for row in rows.values() if row.get("commit")})
    return ", ".join([made_briefly(kept), *asked_words(rows), *([f"tree at {' and '.join(commits)}"] if commits else [])])


def markdown(kept):
    lines = [f"{made_words(kept)}; {machine_words(kept)}.", "",
             "| row | figure | each: median (spread) | ratio (round by round) | asked | enters, calls of ours | limit of ours |",
             "|---|---|---|---|---|---|---|"]
    for name, row in kept["rows"].items():
        if not row["rounds"]:
            lines.append(f"| `{name}` | {headline_words(row['headline'], row['unit'])} | failed | | | | |")
            continue
        each = []
        for label in labels(row):
            cell = cells(row, label)
            each.append(f"{label} {cell[1]} ({cell[2]})")
        found = ratios(row)
        ours = found[0]["ours"] if found else labels(row)[-1]
        calls = row.get("calls", {}).get(ours)
        asked = [f"{'≤' if one['bound'] == 'at_most' else '≥'} {one['asked']:g} {'✓' if one['holds'] else '✗'}" if "asked" in one else "–"
                 for one in found]
        lines.append(f"| `{name}` | {headline_words(row['headline'], row['unit'])} | {'; '.join(each)} | "
                     + "; ".join(f"{one['value']:.2f} ({one['least']:.2f}-{one['most']:.2f}) of {one['rival']}" for one in found)
                     + f" | {'; '.join(asked)} | "
                     + (f"{calls['io_uring_enter']:.3f}, {calls['all']:.3f}" if calls else "–") + f" | {limit(row, ours)} |")
    for name, row in kept["rows"].items():
        lines += [line for words in beside_capacity(row) for line in ("", f"`{name}`: {words}")]
    at_rates = [(name, label, step) for name, row in kept["rows"].items() for label, step in steps(row)]
    if at_rates:
        lines += ["", "| row | who | rate | p50 ms | p99 ms | p99.9 ms | CPU µs each |", "|---|---|---|---|---|---|---|"]
        lines += [f"| `{name}` | {label} | {step['percent']:.0f} %, {step['rate']:.0f}/s | {step['p50_us'] / 1000:.2f} | {step['p99_us'] / 1000:.2f} | "
                  f"{step['p999_us'] / 1000:.2f} | {number(step.get('cpu_us'))} |" for name, label, step in at_rates]
    return "\n".join(lines)


def goodness(row, one):
    """A ratio so that less is better whatever was measured: middle, least, most, and what is asked."""
    asked = one.get("asked")
    if row["headline"] in HIGHER_IS_BETTER:
        return 1 / one["value"], 1 / one["most"], 1 / one["least"], 1 / asked if asked else None
    return one["value"], one["least"], one["most"], asked


def drawing(files):
    """What gnuplot is told: for each row and rival a bar from the least to the most of its ratio, a dot at the median, and a stroke where
    what is asked is. `files`: (name, kept). Rows stand one below the other, the first on top. A bar that goes on beyond the edge has its
    end written there."""
    names = {}
    for _, kept in files:
        for name, row in kept["rows"].items():
            for one in ratios(row):
                turned = ", inverted" if row["headline"] in HIGHER_IS_BETTER else ""
                names.setdefault((name, one["rival"]), f"{name} / {one['rival']}{turned}")
    if not names:
        fail("no ratios are kept there: nothing to draw")
    place = {name: len(names) - i for i, name in enumerate(names)}
    blocks, plots, asked_lines = [], [], []
    most_of_all = max(goodness(row, one)[2] for _, kept in files for row in kept["rows"].values() for one in ratios(row))
    edge, beyond = max(1.25, min(most_of_all * 1.05, 3)), []
    for index, (title, kept) in enumerate(files):
        lines = []
        for name, row in kept["rows"].items():
            for one in ratios(row):
                middle, least, most, asked = goodness(row, one)
                y = place[(name, one["rival"])] + (0.5 - (index + 0.5) / len(files)) * 0.5
                lines.append(f"{middle:.4f} {y:.3f} {least:.4f} {most:.4f}")
                if most > edge:
                    beyond.append(f"set label {quoted(f'→ {most:.2f}')} at {edge:.2f},{y:.3f} left offset 0.5,0")
                if asked:
                    line = f"{asked:.4f} {place[(name, one['rival'])]}"
                    if line not in asked_lines:
                        asked_lines.append(line)
        blocks.append(f"$file{index} << END\n" + "\n".join(lines) + "\nEND")
        plots.append(f"$file{index} using 1:2:3:4 with xerrorbars linewidth 2 pointtype 7 pointsize 0.7 title {quoted(title)}")
    if asked_lines:
        blocks.append("$asked << END\n" + "\n".join(asked_lines) + "\nEND")
        plots.append("$asked using 1:2:(0):(0.38) with vectors nohead linewidth 2 linecolor rgb '#c03030' title 'asked'")
        plots.append("$asked using 1:2:(0):(-0.38) with vectors nohead linewidth 2 linecolor rgb '#c03030' notitle")
    tics = ", ".join(f"{quoted(words)} {place[pair]}" for pair, words in names.items())
    return "\n".join([
        f"set terminal svg noenhanced size 960,{120 + 26 * len(names)} font 'sans-serif,12' background rgb 'white'",
        r'set title "Postern beside the better rival: less is better, 1 is as good\nmedian, and from the least round to the most"',
        f"set yrange [0.3:{len(names) + 0.7}]", f"set xrange [0:{edge:.2f}]", *beyond, *(["set rmargin 9"] if beyond else []),
        # One below the other: side by side gnuplot leaves out, without a word, what a long title has no room for.
        f"set ytics ({tics})", "set grid xtics", "set key outside bottom center vertical maxcols 1", "set bars 0.4",
        f"set arrow from 1,0.3 to 1,{len(names) + 0.7} nohead linewidth 1 linecolor rgb '#808080'",
        *blocks, "plot " + ", \\\n  ".join(plots)]) + "\n"


def quoted(text):
    return "'" + text.replace("'", "''") + "'"
