"""A page on which a chip is drawn to and taught: session, worker, server, page."""
