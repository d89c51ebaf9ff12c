"""The AppView's machinery: what its endpoints (`api/app/bsky`) share. Reads views alone, writes nothing."""
