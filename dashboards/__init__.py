"""Dashboards over a tracking store: which combination survives the change of device.

Layers: `asc_study.store` and `asc_study.study.leaderboard` (query) -> frame -> `asc_study.figures` (figure) ->
`dashboards.pages` (what a page says, as `dashboards.blocks`) -> `dashboards.app` (a server) or `dashboards.report`
(one file). They read runs and predictions tables, write nothing, and hold nothing but a cache.
"""
