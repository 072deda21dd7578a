"""What importers share: lines of text files and the like; modules here are no importers."""
