"""app.bsky.actor: accounts."""

from __future__ import annotations

from api.app.bsky.actor import (
    get_preferences,
    get_profile,
    get_profiles,
    put_preferences,
    search_actors_typeahead,
)

ENDPOINTS = (get_profile.ENDPOINT, get_profiles.ENDPOINT, search_actors_typeahead.ENDPOINT)

# What the PDS of the account answers itself.
PDS_ENDPOINTS = (get_preferences.ENDPOINT, put_preferences.ENDPOINT)
