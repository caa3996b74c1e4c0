"""Telling people: messages to chats and on-call services, and mail."""
