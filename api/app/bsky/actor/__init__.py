"""app.bsky.actor: accounts."""

from __future__ import annotations

from api.app.bsky.actor import get_profile, get_profiles, search_actors_typeahead

ENDPOINTS = (get_profile.ENDPOINT, get_profiles.ENDPOINT, search_actors_typeahead.ENDPOINT)
