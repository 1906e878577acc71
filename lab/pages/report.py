"""One HTML page about one run: its picture, the verdict's figures if they were kept, and all events in order."""

from collections.abc import Sequence
from html import escape

from lab.pages import lanes
from lab.run.show import words

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
.picture {{ overflow-x: auto }} svg {{ width: 100%; min-width: 44rem; height: auto }}
th {{ text-align: left }} td:first-child {{ white-space: nowrap }}
td {{ vertical-align: top; padding: .1rem .8rem .1rem 0; font-variant-numeric: tabular-nums }}
</style></head><body><main><h1>{title}</h1>
"""


def html(events: Sequence[lanes.Event]) -> str:
    """The whole page, which needs no other files.  Raises LookupError if no misfortune is recorded."""
    struck, names = lanes.struck_at(events), lanes.node_names(events)
    title = next(str(event["title"]) for event in events if event["source"] == "nemesis" and "title" in event)
    told = lanes.story(events)
    rows = []
    for event in events:
        said = words(event)
        if said is not None and event["t"] - struck >= -lanes.BEFORE:
            for instance, name in names.items():
                said = said.replace(instance, name)
            rows.append(f"<tr><td>{event['t'] - struck:+.3f} s<td>{escape(event['source'])}<td>{escape(said)}")
    return (
        HEAD.format(title=escape(title[:1].upper() + title[1:]))
        + f'<div class="picture" role="group" aria-label="Picture" tabindex="0">{lanes.svg(title, {"": told})}</div>'
        + "<h2>What happened</h2><table><thead><tr><th>When<th>Who<th>What</thead><tbody>"
        + "\n".join(rows)
        + "</table></main></body></html>\n"
    )
