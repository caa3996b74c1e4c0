"""Tickets of GitHub, GitLab and Jira: opened, commented and closed, none of it twice."""
