"""The did:plc directory over HTTP."""
