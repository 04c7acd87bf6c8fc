"""Conversations with three agents in a chain while every one of the agents is replaced again and again."""
