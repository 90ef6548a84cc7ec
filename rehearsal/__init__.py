"""A small AWS region on one Linux machine: an emulated control plane over real servers."""
