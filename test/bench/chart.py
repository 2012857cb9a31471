# SPDX-License-Identifier: Apache-2.0
"""Horizontal bars with whiskers, as SVG. Pure: summaries in, text out.

Colours are from the palette of Okabe and Ito, which people tell apart whatever colours they see; what
a bar is stands beside it, too.
"""

from xml.sax.saxutils import escape

PANELS = [  # figure, title, unit, digits, is more better?
    ("tcp1_ab_gbit_s", "TCP, 1 stream", "Gbit/s", 1, True),
    ("tcp4_ab_gbit_s", "TCP, 4 streams", "Gbit/s", 1, True),
    ("udp64_delivered_kpps", "UDP delivered, 64 bytes", "1000/s", 0, True),
    ("udp1400_delivered_kpps", "UDP delivered, 1400 bytes", "1000/s", 0, True),
    ("rtt_idle_p50_us", "Round-trip time, idle, median", "µs", 0, False),
    ("tcp1_ab_machine_cpu_s_per_gb", "Processor time, TCP, 1 stream", "s/GB", 1, False),
]
COLOURS = {"reference": "#999999", "kernel": "#56b4e9", "van": "#0072b2", "peer": "#e69f00"}
LEGEND = {"reference": "no tunnel", "kernel": "in the kernel, clear text", "van": "VAN", "peer": "others"}
FONT = "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\""

PANEL_W, LABEL_W, VALUE_W = 560, 200, 60
BAR_H, ROW_H, HEAD_H, GAP = 14, 22, 46, 24
MARGIN, TOP_H, FOOT_H = 20, 58, 40


def text(x, y, content, size=12, anchor="start", weight="normal", colour="#1a1a1a"):
    return '<text x="%.1f" y="%.1f" font-size="%d" text-anchor="%s" font-weight="%s" fill="%s">%s</text>' \
        % (x, y, size, anchor, weight, colour, escape(content))


def rect(x, y, width, height, colour):
    return '<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' % (x, y, width, height, colour)


def line(x1, y1, x2, y2, colour="#1a1a1a", width=1.2):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%.1f"/>' \
        % (x1, y1, x2, y2, colour, width)


def round_up(value):
    """The next of 1, 2, 2.5, 5 times a power of ten: where the scale ends."""
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999)


def panel(x, y, rows, figure, title, unit, digits, more_is_better):
    """One panel of bars; rows are contestants that have the figure."""
    scale_w = PANEL_W - LABEL_W - VALUE_W
    end = round_up(max(c["summary"][figure]["max"] for c in rows))
    left, top = x + LABEL_W, y + HEAD_H
    bottom = top + len(rows) * ROW_H

    def at(value):
        return left + scale_w * value / end

    yield text(x, y + 16, "%s, %s" % (title, unit), 14, weight="bold")
    yield text(x, y + 32, "more is better" if more_is_better else "less is better", 11, colour="#555555")
    for quarter in range(5):
        value = end * quarter / 4
        yield line(at(value), top - 4, at(value), bottom, "#dddddd", 1)
        yield text(at(value), bottom + 13, "%g" % value, 10, "middle", colour="#555555")
    for i, contestant in enumerate(rows):
        row = contestant["summary"][figure]
        y0 = top + i * ROW_H
        middle = y0 + BAR_H / 2
        van = contestant["kind"] == "van"
        yield text(left - 8, middle + 4, contestant["title"], 12, "end", "bold" if van else "normal")
        yield rect(left, y0, max(1.0, at(row["median"]) - left), BAR_H, COLOURS[contestant["kind"]])
        yield line(at(row["min"]), middle, at(row["max"]), middle)
        for edge in ("min", "max"):
            yield line(at(row[edge]), middle - 4, at(row[edge]), middle + 4)
        yield text(at(row["max"]) + 6, middle + 4, "%.*f" % (digits, row["median"]), 12,
                   weight="bold" if van else "normal")


def svg(contestants, subtitle):
    """The chart of all panels for which there are figures; None where there are none."""
    drawn = []
    for figure, *rest in PANELS:
        rows = [c for c in contestants.values() if figure in c["summary"]]
        if rows:
            drawn.append((rows, figure, *rest))
    if not drawn:
        return None
    heights = [HEAD_H + max(len(p[0]) for p in drawn[i:i + 2]) * ROW_H + GAP for i in range(0, len(drawn), 2)]
    width = 2 * PANEL_W + 3 * MARGIN
    height = TOP_H + sum(heights) + FOOT_H
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" %s>'
             % (width, height, width, height, FONT),
             '<title>VAN and other tunnels, measured side by side</title>',
             rect(0, 0, width, height, "#ffffff"),
             text(MARGIN, 26, "VAN and other tunnels, measured side by side on one machine", 18, weight="bold"),
             text(MARGIN, 44, subtitle, 11, colour="#555555")]
    for i, one in enumerate(drawn):
        x = MARGIN + i % 2 * (PANEL_W + MARGIN)
        y = TOP_H + sum(heights[:i // 2])
        parts += panel(x, y, *one)
    x, y = MARGIN, height - 22
    for kind in dict.fromkeys(c["kind"] for rows, *_ in drawn for c in rows):
        parts += [rect(x, y, 14, 14, COLOURS[kind]), text(x + 20, y + 12, LEGEND[kind])]
        x += 40 + 7 * len(LEGEND[kind])
    parts += [line(x, y + 7, x + 30, y + 7), line(x, y + 3, x, y + 11), line(x + 30, y + 3, x + 30, y + 11),
              text(x + 38, y + 12, "bar: median; whisker: smallest and largest of all rounds"), "</svg>", ""]
    return "\n".join(parts)
