"""Every command and code block of README.md and docs/, run or checked as the page says."""
