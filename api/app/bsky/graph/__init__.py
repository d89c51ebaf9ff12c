"""app.bsky.graph: who follows and blocks whom."""
