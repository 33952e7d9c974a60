"""Time: clusters, timelines, and live workers (in `simulators.live`, which needs Ray)."""

from simulators.timeline import timeline as timeline
