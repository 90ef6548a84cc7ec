# A release that does not even start.
raise KeyError, "HARVEST_KEY is not set"
