"""What the Phantom interface keeps: containers, artifacts, their notes, users, and which run took which artifact."""
