"""The numbers of a release, measured."""
