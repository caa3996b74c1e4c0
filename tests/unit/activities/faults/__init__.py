"""What each action that connects does about each fault of the other side."""
