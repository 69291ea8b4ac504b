"""Downloads: many files from many hosts, each verified."""
