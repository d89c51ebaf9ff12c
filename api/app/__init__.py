"""Endpoints of the app namespace, one file each; a file's path is its NSID."""
