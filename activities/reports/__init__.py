"""Reports of a run: templates, rendered in a process that nothing can get out of or blow up."""
