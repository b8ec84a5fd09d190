"""A layer: its frame, its groups of lanes, and what neurons and learning rules add. Start with :mod:`.layer`."""
