"""What a relay serves beside /xrpc/: its operator's calls, and the stream in Jetstream's form."""
