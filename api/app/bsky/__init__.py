"""app.bsky: what the AppView answers. An endpoint is skeleton, hydrate, rules, present, in file order."""
