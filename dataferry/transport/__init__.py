"""One file's bytes over the network: connections, ranges, resume, hashing on the way. It knows nothing of packages."""
